"""What a budget buys is told before it is spent, and one that brings no trial to its end is refused, in every unit."""

from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.budget_buys import bought, budget_faults
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep
from trainables.config.shape import SpeedShape, speed_shape

EIGHT = [{"grid": {"axes": {"prediction": ["x", "v"], "learning_rate": [1e-3, 2e-3]}, "seeds": 2, "contrasts": []}}]


def planned(budget: dict[str, Any], **changes: Any) -> Plan:
    tree = tiny_sweep(budget={"images_per_trial": 64, **budget}, stages=EIGHT, **changes)
    return plan(SweepSpec.model_validate(tree), source="sweep.yaml")


def speeds(plan: Plan, images_per_second: float) -> dict[SpeedShape, float]:
    return {speed_shape(entry.trial): images_per_second for entry in plan.entries}


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"total_images": 32}, "budget.total_images: must bring one trial to its end, got 32; the smallest trains on 64"),
        ({"gpu_hours": 1e-12}, "budget.gpu_hours: must bring one trial to its end, got 1e-12; the cheapest takes"),
        ({"wall_hours": 1e-12}, "budget.wall_hours: must bring one trial to its end, got 1e-12; the cheapest takes"),
        ({"money": 1e-12, "price_per_gpu_hour": 2.0}, "budget.money: must bring one trial to its end, got 1e-12; the cheapest"),
    ],
)
def test_a_budget_below_what_any_hardware_needs_for_one_trial_is_refused_by_name(budget: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        planned(budget)


@pytest.mark.parametrize(
    ("budget", "key", "need"),
    [
        ({"gpu_hours": 1.9}, "gpu_hours", "2"),
        ({"wall_hours": 0.9}, "wall_hours", "1"),
        ({"money": 5.9, "price_per_gpu_hour": 3.0}, "money", "6"),
    ],
)
def test_a_budget_below_what_a_trial_takes_by_the_measured_speed_is_refused(
    budget: dict[str, Any], key: str, need: str
) -> None:
    """64 images at 64 an hour, on two CPUs."""
    plan = planned(budget, resources={"workers": 2, "cpus": 1})
    [fault] = budget_faults(plan.spec, plan.entries, speeds(plan, 64 / 3600))
    assert fault.key == f"budget.{key}"
    assert f"the cheapest takes {need} by the speed measured here" in fault.reason
    assert budget_faults(plan.spec, plan.entries, speeds(plan, 80 / 3600)) == []


def test_plan_tells_how_many_trials_a_budget_brings_to_their_end_and_how_many_it_starts_with_an_early_stop() -> None:
    assert bought(planned({"total_images": 200})) == ["the budget brings 3 of 8 trials to the end where none is stopped early"]
    scheduler = {"kind": "halving", "first_rung": {"images": 32}, "s_train": 0.0}
    assert bought(planned({"total_images": 200}, scheduler=scheduler)) == [
        "the budget brings 3 of 8 trials to the end where none is stopped early, and starts up to 6 where others are"
    ]
    assert bought(planned({"trials": 2})) == ["the budget brings 2 of 8 trials to the end where none is stopped early"]
    assert bought(planned({})) == []


def test_what_hours_and_money_buy_is_told_by_measured_speeds_and_else_that_it_shows_later() -> None:
    plan = planned({"money": 10.0, "price_per_gpu_hour": 2.0})
    told = "what money buy shows once the trials are measured (`plan --probe`) and proposed"
    assert bought(plan) == [told]
    assert bought(plan, speeds(plan, 64 / 3600)) == ["the budget brings 5 of 8 trials to the end where none is stopped early"]
