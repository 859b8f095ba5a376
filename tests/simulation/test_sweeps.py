"""Whole sweeps from recorded seeds: they end, every seed plays the same story twice, and what must hold holds."""

import pytest

from tests.simulation.seeds import disturbed, undisturbed
from tests.test_layers import TOP, loaded_by

CALM = range(5)
RECORDED = (0,)
"""Seeds that have found a fault. 0: after a worker's loss, 112 images were spent of a budget of 96."""
ROUGH = (*RECORDED, *range(100, 105))


@pytest.mark.parametrize("seed", CALM)
def test_an_undisturbed_sweep_ends_in_one_run_and_no_attempt_fails(seed: int) -> None:
    undisturbed(seed)


@pytest.mark.parametrize("seed", ROUGH)
def test_a_disturbed_sweep_keeps_its_ledger_whole_and_ends(seed: int) -> None:
    disturbed(seed)


def test_one_seed_plays_one_story() -> None:
    first, second = disturbed(101), disturbed(101)
    assert [(event.at, event.kind, event.trial_id, event.attempt, event.data) for event in first.events] == [
        (event.at, event.kind, event.trial_id, event.attempt, event.data) for event in second.events
    ]


def test_a_played_sweep_loads_neither_ray_nor_torch() -> None:
    modules = "tests.simulation.play, jit_sweep.search.proposals"
    assert loaded_by(f"import {modules}", cwd=TOP, among=("ray", "torch", "mlflow")) == set()
