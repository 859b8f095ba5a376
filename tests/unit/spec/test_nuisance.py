"""Tuned arms in a sweep file: where they are tried, and what cannot be tuned."""

from typing import Any

import pytest
from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.plan.plan import plan
from jit_sweep.plan.tuned_arms import tuning_costs
from jit_sweep.spec.nuisance import Nuisance
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

RATE = {"low": 1e-4, "high": 1e-2, "log": True}


def nuisance(axes: dict[str, Any], trials: int) -> Nuisance:
    return Nuisance.model_validate({"axes": axes, "trials": trials})


def tuned(axes: dict[str, Any], *, trials: int = 2, **grid: Any) -> SweepSpec:
    own = {"axes": {"prediction": ["x", "v"]}, "seeds": 3, "nuisance": {"axes": axes, "trials": trials}, **grid}
    return SweepSpec.model_validate(tiny_sweep(stages=[{"grid": own}]))


@pytest.mark.parametrize("trials", [4, 8, 21])
def test_settings_are_spread_evenly_over_an_axis_and_more_go_on_with_those_before(trials: int) -> None:
    settings = nuisance({"t_mu": {"low": 0.0, "high": 1.0}}, trials).settings
    places = sorted(float(str(setting["t_mu"])) for setting in settings)
    gaps = [after - before for before, after in zip([0.0, *places], [*places, 1.0], strict=True)]
    assert max(gaps) <= 2 / trials, "a random draw leaves gaps of about log(n) / n"
    assert nuisance({"t_mu": {"low": 0.0, "high": 1.0}}, trials + 5).settings[:trials] == settings


def test_settings_are_what_the_axes_hold() -> None:
    space = {"learning_rate": RATE, "width": {"low": 16, "high": 20}, "t_mu": [-0.8, 0.0]}
    found = nuisance(space, 30).settings
    assert len({tuple(setting.values()) for setting in found}) == 30
    assert all(1e-4 <= float(str(setting["learning_rate"])) <= 1e-2 for setting in found)
    assert found[0]["learning_rate"] == 0.001, "the middle comes first"
    assert {setting["width"] for setting in found} == {16, 17, 18, 19, 20}
    assert {setting["t_mu"] for setting in found} == {-0.8, 0.0}


@pytest.mark.parametrize(
    ("axes", "more", "said"),
    [
        ({"prediction": ["x", "v"]}, {}, "`nuisance` must name other axes than the arms differ in, got prediction"),
        ({"learning_rate": RATE}, {"seeds": {"min": 3, "max": 5}}, "got a race from 3 to 5; write seeds: 5"),
        ({"learning_rate": RATE}, {"seeds": [0, 1_000_000]}, "whose tuning seeds begin there, got 1,000,000"),
        ({"learning_rate": [0.1, 0.2]}, {"trials": 3}, "got 3; write trials: 2"),
        ({"learning_rate": RATE}, {"trials": 1}, "greater than or equal to 2"),
    ],
)
def test_what_is_no_tuning_is_refused(axes: dict[str, Any], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        tuned(axes, **more)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"width": [16, 32]}, "got another network; make it an axis of the stage"),
        ({"batch_size": [4, 8]}, "got another batch size"),
        ({"sampling_steps": [2, 3]}, "got another evaluation"),
        ({"t_shift": [1.0, 2.0]}, r"nuisance.axes.t_shift: .* only where t_sampling=shifted"),
    ],
)
def test_arms_are_not_tuned_along_what_they_would_not_compare_in(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(tuned(axes), source="a test")


def test_an_objective_does_not_choose_along_what_it_is_blind_to() -> None:
    spec = tuned({"noise_scale": [1.0, 2.0]}).model_copy(update={"objective": "heldout_v_error"})
    with pytest.raises(UserError, match="nuisance.axes.noise_scale: .*cannot choose along it"):
        plan(spec, source="a test")


def test_the_plan_tells_what_the_tuning_costs_and_what_follows() -> None:
    found = plan(tuned({"learning_rate": RATE}, trials=4), source="a test")
    [cost] = tuning_costs(found)
    assert (cost.tuning_trials, cost.fresh_trials) == (2 * 4, 2 * 3)
    assert str(cost).startswith("each arm is tried at 4 settings of learning_rate with 1 tuning seed (8 trials, ")
