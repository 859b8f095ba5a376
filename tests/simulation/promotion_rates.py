"""`python -m tests.simulation.promotion_rates`: what a chosen configuration's own score is worth, and what fresh seeds are.

Sweeps of equal arms are drawn, the best mean is chosen, and the chosen arm is trained again on fresh seeds, with the program's
own choice of an interval.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jit_sweep.statistics.reruns import expected
from jit_sweep.statistics.selection import best_of_normals

SWEEPS = 4000
SEEDS = 3


class Rates(NamedTuple):
    """Of sweeps with so many equal arms; biases in standard deviations over seeds, the better the more negative."""

    arms: int
    own_bias: float
    """Of the chosen arm's score in its sweep."""
    told_bias: float
    """What `promote` says that it is."""
    fresh_bias: float
    covers_mean: float
    """Per cent of the fresh intervals that hold the true mean."""
    covers_rerun: float
    """Per cent in which one more training lands where it is said to."""
    own_covers: float
    """Per cent of the chosen arm's own intervals that hold the true mean."""


def rates(arms: int, *, seed: int, spread: float = 0.02, sweeps: int = SWEEPS) -> Rates:
    """Log scores of equal arms, whose true mean is 0, lower is better."""
    drawn = np.random.default_rng(seed)
    scores = drawn.normal(scale=spread, size=(sweeps, arms, SEEDS))
    chosen = scores[np.arange(sweeps), scores.mean(axis=-1).argmin(axis=-1)]
    fresh, rerun = drawn.normal(scale=spread, size=(sweeps, SEEDS)), drawn.normal(scale=spread, size=sweeps)
    told = [expected(list(values)) for values in fresh]
    own = [expected(list(values)).interval for values in chosen]
    return Rates(
        arms,
        float(chosen.mean()) / spread,
        -best_of_normals(arms) / SEEDS**0.5,
        float(fresh.mean()) / spread,
        _per_cent([one.interval.low <= 0 <= one.interval.high for one in told]),
        _per_cent([one.rerun.low <= again <= one.rerun.high for one, again in zip(told, rerun, strict=True)]),
        _per_cent([interval.low <= 0 <= interval.high for interval in own]),
    )


def _per_cent(held: list[bool]) -> float:
    return 100 * sum(held) / len(held)


def lines() -> Iterator[str]:
    """A table of the rates."""
    yield f"{SWEEPS} sweeps a line, {SEEDS} seeds an arm; biases in standard deviations over seeds"
    yield "arms  own score  as told  fresh  fresh covers mean %  one more training %  own covers mean %"
    for arms in (2, 4, 8, 12, 24):
        found = rates(arms, seed=arms)
        biases = f"{found.own_bias:9.2f}  {found.told_bias:7.2f}  {found.fresh_bias:5.2f}"
        yield f"{arms:4d}  {biases}  {found.covers_mean:19.1f}  {found.covers_rerun:19.1f}  {found.own_covers:17.1f}"


if __name__ == "__main__":
    sys.stdout.write("\n".join([*lines(), ""]))
