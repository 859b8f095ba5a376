"""What `plan` says of a scheduler: where arms may stop, and where nothing can."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.plan.scheduler_remarks import remarks
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

EARLY = {"kind": "halving", "first_rung": {"images": 16}, "reduction": 2, "s_train": 0.01}
RATES = {"learning_rate": [1e-3, 2e-3, 3e-3]}


def planned(*, scheduler: dict[str, Any] | None = None, **grid: Any) -> Plan:
    stages = [{"grid": {"axes": RATES, **grid}}]
    budget = {"images_per_trial": 64}
    tree = tiny_sweep(stages=stages, budget=budget, **({"scheduler": scheduler} if scheduler else {}))
    return plan(SweepSpec.model_validate(tree), source="sweep.yaml")


def test_without_a_scheduler_nothing_is_said() -> None:
    assert remarks(planned()) == []


def test_the_gates_are_told() -> None:
    assert remarks(planned(scheduler=EARLY)) == [
        "stage=0: arms may stop at 16, 32 images, by asynchronous halving on heldout_v_error"
    ]


def test_each_patch_size_races_by_itself() -> None:
    plan = planned(scheduler=EARLY, axes={"patch_size": [16, 8], **RATES})
    assert [line.split(":")[0] for line in remarks(plan)] == ["stage=0 patch_size=16", "stage=0 patch_size=8"]
    assert len({entry.race for entry in plan.entries}) == 2


@pytest.mark.parametrize(
    ("changes", "grid", "why"),
    [
        ({"s_train": None}, {}, "the spread over seeds is not known; declare `s_train`"),
        ({}, {"seeds": 2}, "every arm is part of a planned contrast"),
        ({"first_rung": {"images": 64}}, {}, "no rung lies between `first_rung` and the end, 64 images"),
        ({"kind": "median", "reduction": None}, {}, "it has 3 arms, and the first verdict takes 6"),
        ({}, {"axes": {"learning_rate": [1e-3]}}, "it has 1 arms, and the first verdict takes 2"),
    ],
)
def test_where_nothing_can_be_stopped_plan_says_so(changes: dict[str, Any], grid: dict[str, Any], why: str) -> None:
    scheduler = {name: value for name, value in {**EARLY, **changes}.items() if value is not None or name == "s_train"}
    (line,) = remarks(planned(scheduler=scheduler, **grid))
    assert "nothing can be stopped early: " in line
    assert why in line


def test_seeds_measure_the_spread_and_no_contrasts_leave_arms_to_be_stopped() -> None:
    plan = planned(scheduler={**EARLY, "s_train": None}, seeds=2, contrasts=[])
    assert "arms may stop" in remarks(plan)[0]
    assert not any(entry.protected for entry in plan.entries)


def test_a_contrast_planned_among_some_cells_protects_those_alone() -> None:
    axes = {"patch_size": [16, 8], "prediction": ["x", "v"]}
    plan = planned(scheduler=EARLY, axes=axes, contrasts=[{"axis": "prediction", "where": {"patch_size": 16}}])
    assert {entry.arm["patch_size"]: entry.protected for entry in plan.entries} == {16: True, 8: False}


def test_a_rung_in_flops_stands_at_equal_cost(tmp_path: Path) -> None:
    from trainables.networks.cost import training_flops

    flops = 2e7
    plan = planned(scheduler={**EARLY, "first_rung": {"flops": flops}}, axes={"patch_size": [16, 8], **RATES})
    spent = {training_flops(entry.trial, images=entry.gates[0]) for entry in plan.entries}
    assert len({entry.gates[0] for entry in plan.entries}) == 2
    assert all(flops <= count < 2 * flops for count in spent)


NOISE = {"noise_scale": [1.0, 2.0]}


def test_a_race_across_what_its_metric_does_not_compare_is_refused() -> None:
    rule = "scheduler.compare_within: must hold noise_scale, along which heldout_v_error does not compare arms, got patch_size"
    with pytest.raises(UserError, match=rule):
        planned(scheduler=EARLY, axes=NOISE)
    apart = planned(scheduler={**EARLY, "compare_within": ["patch_size", "noise_scale"]}, axes=NOISE)
    assert len({entry.race for entry in apart.entries}) == 2
    assert planned(axes=NOISE).entries
    assert planned(scheduler=EARLY, axes=NOISE, seeds=2).entries, "arms of a planned contrast are never stopped"
    assert planned(scheduler=EARLY, axes={"sampling_steps": [2, 4]}).entries, "a rung does not sample"


STAGED = {"path": {"kind": "staged", "stages": 2}}


@pytest.mark.parametrize(
    ("key", "changes"),
    [("objective", {"objective": "heldout_v_error"}), ("scheduler.metric", {"scheduler": EARLY})],
)
def test_what_decides_is_the_error_of_no_other_path(key: str, changes: dict[str, Any]) -> None:
    own = f"{key}: must be a score of every trial, got heldout_v_error, which is of flow trials and says nothing of staged"
    model = {**tiny_sweep()["baseline"].get("model", {}), "patch_size": 8}
    staged = {**tiny_sweep()["baseline"], "diffusion": STAGED, "model": model}

    def staged_plan(axes: dict[str, Any], **keys: Any) -> Plan:
        tree = tiny_sweep(stages=[{"grid": {"axes": axes}}], budget={"images_per_trial": 64}, baseline=staged, **keys)
        return plan(SweepSpec.model_validate(tree), source="sweep.yaml")

    with pytest.raises(UserError, match=f"{own}; try heldout_stage_error, or a score of samples"):
        staged_plan({"prediction": ["x", "v"]}, **changes)
    with pytest.raises(UserError, match=f"{own}; try a score of samples"):
        staged_plan({"path": ["flow", "staged"]}, **changes)
    if key == "scheduler.metric":
        early = {"scheduler": {**EARLY, "metric": "heldout_stage_error"}}
        assert staged_plan({"prediction": ["x", "v"]}, **early).entries
    assert staged_plan({"path": ["flow", "staged"]}).entries


@pytest.mark.parametrize("key", ["objective", "scheduler.metric"])
def test_noise_levels_are_decided_by_their_own_error_or_by_samples(key: str) -> None:
    def levelled(axes: dict[str, Any], metric: str) -> Plan:
        decides: dict[str, Any] = {"objective": metric} if key == "objective" else {"scheduler": {**EARLY, "metric": metric}}
        given = {"baseline": {**tiny_sweep()["baseline"], "diffusion": {"path": {"kind": "karras"}}}, **decides}
        tree = tiny_sweep(stages=[{"grid": {"axes": axes}}], budget={"images_per_trial": 64}, **given)
        return plan(SweepSpec.model_validate(tree), source="sweep.yaml")

    own = f"{key}: must be a score of every trial, got heldout_v_error, which is of flow trials and says nothing of karras"
    with pytest.raises(UserError, match=f"{own}; try heldout_level_error, or a score of samples"):
        levelled({"depth": [2, 4]}, "heldout_v_error")
    with pytest.raises(UserError, match="got heldout_level_error, which is of karras trials and says nothing of flow"):
        levelled({"path": ["flow", "karras"]}, "heldout_level_error")
    assert levelled({"depth": [2, 4]}, "heldout_level_error").entries


def test_masked_tokens_and_denoisers_are_ranked_by_scores_of_samples_alone() -> None:
    def of_methods(methods: list[str], objective: str) -> Plan:
        stages = [{"grid": {"axes": {"method": methods, "patch_size": [4]}}}]
        beside = {"baseline": {"preset": "jit-tiny/4"}, "budget": {"images_per_trial": 64}, "objective": objective}
        return plan(SweepSpec.model_validate(tiny_sweep(stages=stages, **beside)), source="sweep.yaml")

    both = ["denoiser", "masked_tokens"]
    of_masks = "got heldout_masked_error, which is of masked_tokens trials and says nothing of flow; try a score of samples"
    with pytest.raises(UserError, match=of_masks):
        of_methods(both, "heldout_masked_error")
    of_flow = "got heldout_v_error, which is of flow trials and says nothing of masked_tokens; try heldout_masked_error"
    with pytest.raises(UserError, match=of_flow):
        of_methods(["masked_tokens"], "heldout_v_error")
    assert of_methods(both, "kid_efflite0_96").entries
    assert of_methods(["masked_tokens"], "heldout_masked_error").entries


def test_classifiers_are_ranked_by_their_own_scores_alone() -> None:
    def of_classifiers(**keys: Any) -> Plan:
        stages = [{"grid": {"axes": {"pool": ["attention", "adaptive"]}}}]
        tree = tiny_sweep(stages=stages, budget={"images_per_trial": 64}, baseline={"preset": "classifier-tiny"}, **keys)
        return plan(SweepSpec.model_validate(tree), source="sweep.yaml")

    own = {"objective": "heldout_accuracy", "scheduler": {**EARLY, "metric": "heldout_cross_entropy"}}
    assert of_classifiers(**own).entries
    of_samples = r"objective: .*got kid_efflite0_96, which is of samples .* of classifier; try heldout_cross_entropy$"
    with pytest.raises(UserError, match=of_samples):
        of_classifiers(objective="kid_efflite0_96")
    with pytest.raises(UserError, match=r"scheduler.metric: .*got heldout_v_error, .*classifier; try heldout_cross_entropy$"):
        of_classifiers(**{**own, "scheduler": EARLY})
    with pytest.raises(UserError, match=r"it tunes sampling of what draws samples, got method=classifier"):
        of_classifiers(**own, evaluation={"n": 4, "tune": {"guidance": [1.0]}})


@pytest.mark.parametrize("changes", [{"objective": "heldout_v_error"}, {"scheduler": EARLY}])
def test_a_search_across_what_its_metric_does_not_compare_is_refused(changes: dict[str, Any]) -> None:
    search = {"trials": 2, "sampler": "random", "axes": NOISE}
    tree = tiny_sweep(stages=[{"search": search}], budget={"images_per_trial": 64}, **changes)
    with pytest.raises(UserError, match="noise_scale.*heldout_v_error"):
        plan(SweepSpec.model_validate(tree), source="sweep.yaml")
    plan(SweepSpec.model_validate(tiny_sweep(stages=[{"search": search}])), source="sweep.yaml")
