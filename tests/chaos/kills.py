"""The plan of kills: their order, points and victims come from a seed and from nothing else."""

import random
from collections.abc import Sequence
from typing import NamedTuple

LEAST_EVENTS, MOST_EVENTS = 2, 9


class Kill(NamedTuple):
    """One kill -9."""

    kind: str
    """Of process."""
    events: int
    """How many more events than at the kill before the ledger must have: nothing is timed."""
    pick: float
    """Which of several victims, from 0 to 1."""

    def choice(self, count: int) -> int:
        """The index of the victim among so many."""
        return min(int(self.pick * count), count - 1)


def deck(kinds: Sequence[str], *, seed: int) -> list[Kill]:
    """One kill of each kind, in an order of its own.

    A trial that loses its lane four times without getting further is given up: a deck has too few such kills for that.
    """
    draw = random.Random(seed)
    return [Kill(kind, draw.randint(LEAST_EVENTS, MOST_EVENTS), draw.random()) for kind in draw.sample(kinds, len(kinds))]
