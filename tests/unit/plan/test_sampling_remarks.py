"""`evaluation.tune` in a sweep file: what cannot be tuned, what it will draw, and that it makes no other sweep."""

from typing import Any

import pytest
from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.plan.plan import plan
from jit_sweep.plan.sampling_remarks import sampling_remarks
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep


def sweep(tune: dict[str, Any] | None, **changes: Any) -> SweepSpec:
    evaluation = {"n": 8, "sampler": "euler", "steps": 2, **({"tune": tune} if tune is not None else {})}
    return SweepSpec.model_validate(tiny_sweep(evaluation=evaluation, **changes))


def test_tuning_changes_neither_the_sweep_s_identity_nor_a_trial_or_a_score() -> None:
    plain, tuned = (plan(sweep(tune), source="file") for tune in (None, {"steps": [2, 4]}))
    assert tuned.fingerprint == plain.fingerprint
    assert [entry.key for entry in tuned.entries] == [entry.key for entry in plain.entries]


@pytest.mark.parametrize(
    ("tune", "changes", "said"),
    [
        ({"guidance": [1, 2]}, {"label_drop": 0}, "`guidance` other than 1 needs the null label"),
        ({"weights": ["emma"]}, {}, "`weights` must be one of raw, ema"),
        ({"interval": [[0.1, 0.9]]}, {}, "`interval` must stand beside guidance other than 1"),
        ({"steps": [2]}, {}, "must leave a choice between two settings"),
        ({"clamp": [0.0]}, {"prediction": "eps"}, "`t_eps_sample` must be above 0 for eps-prediction"),
    ],
)
def test_a_setting_that_a_trial_could_not_be_sampled_at_is_refused_before_anything_trains(
    tune: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    baseline = {**tiny_sweep()["baseline"], "diffusion": changes}
    spec = sweep(tune, baseline=baseline, stages=[{"grid": {"axes": {"width": [16]}}}])
    with pytest.raises(UserError, match="`evaluation.tune`") as refused:
        plan(spec, source="file")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"steps": [4], "n": 9}, "at most the evaluation's own, 8"),
        ({}, "must list"),
        ({"guidance": [1, 2], "interval": [[0.9, 0.1]]}, "low < high, got 0.9, 0.1"),
        ({"guidance": [1, 2], "interval": [[0.1, 7]]}, "less than or equal to 1"),
    ],
)
def test_what_can_never_be_tuned_is_refused_by_the_file_alone(tune: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        sweep(tune)


def test_plan_says_how_many_samples_tuning_draws() -> None:
    (line,) = sampling_remarks(plan(sweep({"guidance": [1, 2], "n": 4, "trials": 5}), source="file"))
    assert line.endswith("at most 5 settings on 4 images each, and two on 8 to confirm: 36 samples a trial, 72 in all")
    (line,) = sampling_remarks(plan(sweep({"steps": [2, 4], "n": 4, "trials": 5}), source="file"))
    assert "at most 2 settings on 4 images" in line
    assert sampling_remarks(plan(sweep(None), source="file")) == []
