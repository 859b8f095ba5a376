"""`plan` names cells that train nearly alike, and plans each of them."""

from typing import Any

import pytest

from jit_sweep.plan.entry import Plan
from jit_sweep.plan.near_duplicates import near_duplicate_remarks
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

LINE = "near-duplicates, whose losses weigh the times alike to 1% (density times weight): "


def planned(baseline: dict[str, Any] | None = None, **axes: Any) -> Plan:
    tree = tiny_sweep(stages=[{"grid": {"axes": axes, "seeds": 2}}])
    tree["baseline"] |= {"diffusion": baseline or {}}
    return plan(SweepSpec.model_validate(tree), source="sweep.yaml")


def test_a_clamp_that_no_draw_reaches_makes_near_duplicates_that_are_planned_all_the_same() -> None:
    swept = planned(t_eps_train=[0.05, 0.01, 0.5])
    assert near_duplicate_remarks(swept) == [LINE + "t_eps_train=0.05 and t_eps_train=0.01"]
    assert len(swept.entries) == 6


def test_the_space_of_the_loss_and_a_weighting_are_one_knob() -> None:
    swept = planned({"loss": "x", "weighting": {"kind": "min_snr", "gamma": 1e6}}, weighting=["min_snr", "none"], loss=["eps"])
    assert near_duplicate_remarks(swept) == [LINE + "loss=eps weighting=min_snr and loss=eps weighting=none"]


def test_a_shift_of_one_is_the_schedule_without_it() -> None:
    swept = planned({"t_sampling": {"kind": "shifted", "shift": 1.0}}, t_sampling=["shifted", "cosine"])
    assert near_duplicate_remarks(swept) == [LINE + "t_sampling=shifted and t_sampling=cosine"]


@pytest.mark.parametrize(
    ("baseline", "axes"),
    [
        ({}, {"t_mu": [-0.8, -0.7]}),
        ({}, {"noise_scale": [1.0, 2.0]}),
        ({"prediction": "v"}, {"loss": ["v", "x"]}),
        ({}, {"learning_rate": [1e-3, 2e-3]}),
        ({}, {"prediction": ["x", "v"]}),
        ({"terms": [{"kind": "multiscale"}]}, {"t_eps_train": [0.05, 0.01]}),
    ],
)
def test_what_trains_otherwise_is_no_near_duplicate(baseline: dict[str, Any], axes: dict[str, Any]) -> None:
    assert near_duplicate_remarks(planned(baseline, **axes)) == []
