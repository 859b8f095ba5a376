"""A sweep whose lanes cannot live is stopped, and no other."""

import pytest

from jit_sweep.executor.dead_lanes import MOST, NODE_TAKEN, SAYS_NOTHING, DeadLanes
from jit_sweep.ledger.records import Cause


def test_lanes_that_die_in_a_row_without_progress_stop_the_sweep() -> None:
    dead = DeadLanes()
    said = [dead.count(Cause.WORKER_LOST, images=0) for _ in range(MOST)]
    assert said[:-1] == [""] * (MOST - 1)
    assert said[-1].startswith(f"{MOST} lanes died one after the other")


def test_progress_between_two_deaths_begins_the_count_anew() -> None:
    dead = DeadLanes()
    assert [dead.count(Cause.WORKER_LOST, images=images) for images in range(3 * MOST)] == [""] * (3 * MOST)


@pytest.mark.parametrize("cause", sorted(SAYS_NOTHING))
def test_a_cause_that_a_lane_ends_with_by_plan_is_not_counted(cause: Cause) -> None:
    dead = DeadLanes()
    assert [dead.count(cause, images=0) for _ in range(3 * MOST)] == [""] * (3 * MOST)


@pytest.mark.parametrize("cause", sorted(SAYS_NOTHING))
def test_a_lane_that_had_begun_nothing_is_counted_unless_its_node_was_taken(cause: Cause) -> None:
    dead = DeadLanes()
    said = [dead.count(cause, images=0, begun=False) for _ in range(MOST)]
    assert bool(said[-1]) is (cause not in NODE_TAKEN)
