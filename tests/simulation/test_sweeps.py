"""Whole sweeps from recorded seeds: they end, every seed plays the same story twice, and what must hold holds."""

import pytest

from tests.simulation.interleaved import interleave
from tests.simulation.seeds import cut_off, disturbed, hung, overtaken, shown, undisturbed
from tests.test_layers import TOP, loaded_by

CALM = range(5)
RECORDED = (0, 100)
"""Seeds that have found a fault. 0: after a worker's loss, 112 images were spent of a budget of 96. 100: a run that was taken
over waited for its hung worker for ever."""
ROUGH = (*RECORDED, *range(101, 105))
CUT = (4, 17)
"""Seeds that have found a fault. 4: an offer whose answer was lost opened a second attempt. 17: the ledger had opened an
attempt, its answer was lost, and the attempt was given up for another."""

SHARED = 101
"""Played on both databases."""
INTERLEAVED, SHOWN, OVERTAKEN = range(6), range(100, 102), (4,)


@pytest.mark.parametrize("seed", CALM)
def test_an_undisturbed_sweep_ends_in_one_run_and_no_attempt_fails(seed: int) -> None:
    undisturbed(seed)


@pytest.mark.parametrize("seed", ROUGH)
def test_a_disturbed_sweep_keeps_its_ledger_whole_and_ends(seed: int) -> None:
    disturbed(seed)


@pytest.mark.parametrize("seed", CUT)
def test_a_sweep_whose_hosts_are_cut_off_from_each_other_keeps_its_ledger_whole_and_ends(seed: int) -> None:
    cut_off(seed)


@pytest.mark.parametrize("seed", CALM)
def test_a_sweep_one_of_whose_workers_falls_silent_ends_by_itself(seed: int) -> None:
    hung(seed)


def test_one_seed_plays_one_story() -> None:
    first, second = disturbed(101), disturbed(101)
    assert [(event.at, event.kind, event.trial_id, event.attempt, event.data) for event in first.events] == [
        (event.at, event.kind, event.trial_id, event.attempt, event.data) for event in second.events
    ]


def test_a_ledger_on_postgresql_plays_the_story_that_one_on_sqlite_plays(postgres_uri: str) -> None:
    played = [disturbed(SHARED, ledger=ledger) for ledger in ("", postgres_uri)]
    told = [[(event.at, event.kind, event.trial_id, event.attempt, event.data) for event in each.events] for each in played]
    assert told[0] == told[1]


@pytest.mark.parametrize("seed", INTERLEAVED)
def test_who_takes_a_sweep_over_waits_for_the_transaction_that_is_under_way(seed: int, postgres_uri: str) -> None:
    interleave(postgres_uri, seed)


@pytest.mark.parametrize("seed", SHOWN)
def test_a_disturbed_sweep_is_shown_whole_and_once_in_an_mlflow_that_goes_away(seed: int) -> None:
    shown(seed)


@pytest.mark.parametrize("seed", OVERTAKEN)
def test_a_command_that_wakes_up_after_another_has_taken_its_sweep_over_begins_no_page_of_mlflow(seed: int) -> None:
    overtaken(seed)


def test_a_played_sweep_loads_neither_ray_nor_torch() -> None:
    modules = "tests.simulation.play, jit_sweep.search.proposals"
    assert loaded_by(f"import {modules}", cwd=TOP, among=("ray", "torch", "mlflow")) == set()
