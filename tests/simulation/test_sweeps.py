"""Whole sweeps from recorded seeds: they end, every seed plays the same story twice, and what must hold holds."""

import pytest

from tests.simulation.judge import check_verdicts
from tests.simulation.play import memory
from tests.simulation.seeds import calm, check, rough
from tests.test_layers import TOP, loaded_by

CALM = range(5)
ROUGH = range(100, 106)


@pytest.mark.parametrize("seed", CALM)
def test_an_undisturbed_sweep_ends_in_one_run(seed: int) -> None:
    with memory() as ledger:
        story = calm(seed, ledger=ledger)
    assert len(story.ends) == 1
    check(story)
    check_verdicts(story.events, story.plan.spec.scheduler)


@pytest.mark.parametrize("seed", ROUGH)
def test_a_disturbed_sweep_keeps_its_ledger_whole_and_ends(seed: int) -> None:
    with memory() as ledger:
        story = rough(seed, ledger=ledger)
    check(story)
    check_verdicts(story.events, story.plan.spec.scheduler)


def test_one_seed_plays_one_story() -> None:
    logs = []
    for _ in range(2):
        with memory() as ledger:
            story = rough(101, ledger=ledger)
        logs.append([(event.at, event.kind, event.trial_id, event.attempt, event.data) for event in story.events])
    assert logs[0] == logs[1]


def test_a_played_sweep_loads_neither_ray_nor_torch() -> None:
    modules = "tests.simulation.play, jit_sweep.search.proposals"
    assert loaded_by(f"import {modules}", cwd=TOP, among=("ray", "torch", "mlflow")) == set()
