"""Stages of which no samples are drawn, in sweeps whose objective is a score of samples."""

from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.plan.scheduler_remarks import remarks
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

EARLY = {"kind": "halving", "first_rung": {"images": 16}, "reduction": 2, "s_train": 0.01}
FINDERS = {"preset": ["classifier-tiny"], "batch_size": [8]}
POOLS = {**FINDERS, "pool": ["attention", "adaptive"]}
DENOISERS = {"grid": {"axes": {"prediction": ["x", "v"]}}}


def planned(first: dict[str, Any], **keys: Any) -> Plan:
    tree = tiny_sweep(**{"stages": [{"name": "finder", **first}, DENOISERS], "budget": {"images_per_trial": 64}, **keys})
    return plan(SweepSpec.model_validate(tree), source="sweep.yaml")


def grid(axes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"grid": {"axes": axes, **changes}}


def test_a_trial_that_draws_nothing_stands_in_a_sweep_by_a_score_of_those_that_do() -> None:
    for objective in ("fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"):
        found = planned(grid(POOLS, seeds=2), objective=objective).entries
        assert [entry.trial.method.kind for entry in found] == ["classifier"] * 4 + ["denoiser"] * 2


def test_a_trial_that_draws_nothing_is_measured_at_rungs_and_meets_no_gate() -> None:
    found = planned(grid(POOLS, seeds=2), scheduler=EARLY)
    assert [bool(entry.gates) for entry in found.entries] == [False] * 4 + [True] * 2
    assert all(entry.rungs[-1] == 64 and len(entry.rungs) > 1 for entry in found.entries)
    first, second = remarks(found)
    assert "nothing can be stopped early: heldout_v_error says nothing of classifier trials" in first
    assert "arms may stop" in second


def test_a_worker_s_share_and_micro_batch_hold_whole_groups_of_images_that_are_told_apart() -> None:
    pretraining = grid({"preset": ["epg-pretraining-tiny"], "batch_size": [64]})
    assert planned(pretraining, resources={"workers": 2, "micro_batch": 32}).entries
    for resources, got in (
        ({"workers": 4}, "got 16 images a worker, micro_batch=null, group=32"),
        ({"workers": 1, "micro_batch": 48}, "got 64 images a worker, micro_batch=48, group=32"),
    ):
        with pytest.raises(UserError) as error:
            planned(pretraining, resources=resources)
        rule = "a worker's share of a batch, and `micro_batch`, must be multiples of the method's group"
        assert f"{rule}, {got}" in str(error.value)


def test_a_fault_of_one_stage_says_nothing_of_the_objective_of_another() -> None:
    tree = tiny_sweep(
        stages=[{"name": "finder", **grid(POOLS)}, {"grid": {"axes": {"patch_size": [7]}}}], budget={"images_per_trial": 64}
    )
    with pytest.raises(UserError) as error:
        plan(SweepSpec.model_validate(tree), source="sweep.yaml")
    assert "patch_size=7" in str(error.value)
    assert "objective" not in str(error.value)


def test_sampling_is_tuned_beside_what_draws_nothing() -> None:
    tuned = {"evaluation": {"n": 8, "sampler": "euler", "steps": 2, "tune": {"steps": [4], "n": 4}}}
    assert planned(grid(POOLS), **tuned).entries


@pytest.mark.parametrize(
    ("first", "keys", "said"),
    [
        (
            grid(POOLS),
            {"scheduler": EARLY},
            "scheduler.metric: must be a score of every trial, got heldout_v_error, which is of flow trials and says nothing "
            "of classifier; try kind: none, or a later stage that builds on them",
        ),
        (
            grid(POOLS),
            {"scheduler": {**EARLY, "metric": "fd_efflite0_96"}},
            "got fd_efflite0_96, which is of samples and says nothing of classifier; try kind: none, or a later stage",
        ),
        (
            grid(POOLS, seeds={"min": 3, "max": 5}),
            {},
            "stages[0].grid.seeds: must be decided by a score that its trials have, got the objective fd_efflite0_96, and "
            "classifier trials have none; write a count of seeds, or put them in a sweep of their own by "
            "heldout_cross_entropy",
        ),
        (
            grid(POOLS, seeds=2, nuisance={"axes": {"learning_rate": [1e-3, 2e-3]}, "trials": 2}),
            {},
            "stages[0].grid.nuisance: must be decided by a score",
        ),
        (
            {"search": {"trials": 2, "sampler": "random", "axes": {**FINDERS, "preset": ["jit-tiny/8", "classifier-tiny"]}}},
            {},
            "stages[0].search: must be decided by a score that its trials have, got the objective fd_efflite0_96",
        ),
    ],
)
def test_what_would_be_decided_by_samples_that_are_not_drawn_is_refused(
    first: dict[str, Any], keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        planned(first, **keys)
    assert said in str(error.value)
