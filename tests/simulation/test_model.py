"""The protocol of leases and attempts: explored whole to a depth, and the real ledger takes every step as the model does."""

import pytest

from jit_sweep.ledger.connect import open_engine
from tests.simulation.lockstep import walk
from tests.simulation.model import State, actions, check_state, check_step, step
from tests.simulation.play import memory

DEPTH = 7
WALKS = range(6)


def explored(depth: int) -> int:
    """Every state that so many actions reach, each checked; how many there are."""
    seen = frontier = {State()}
    for _ in range(depth):
        fresh: set[State] = set()
        for state in frontier:
            for action in actions(state):
                after = step(state, action)
                check_step(state, action, after)
                if after.state not in seen:
                    check_state(after.state)
                    fresh.add(after.state)
        seen, frontier = seen | fresh, fresh
    return len(seen)


def test_no_order_of_actions_breaks_the_protocol() -> None:
    assert explored(DEPTH) > 1000


@pytest.mark.parametrize("seed", WALKS)
def test_the_real_ledger_takes_every_step_as_the_model_does(seed: int) -> None:
    with memory() as ledger:
        engine = open_engine(ledger)
        walk(engine, seed, steps=120)
        engine.dispose()
