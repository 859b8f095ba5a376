"""What the scores of fresh seeds say of the mean over seeds, and of one more training."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.statistics.student_t import LEVEL, Interval, mean, sample_sd, t_upper


class Expected(NamedTuple):
    """What a configuration scores, on the scale of the values."""

    mean: float
    interval: Interval
    """Of the mean, 95 %."""
    rerun: Interval
    """In which one more training lands in 95 of 100 cases."""


def expected(values: Sequence[float]) -> Expected:
    """The mean with mean +- t s / sqrt(n), and mean +- t s sqrt(1 + 1 / n) for one more value.

    Source: Student 1908; the prediction interval of a normal value. ValueError: fewer than two values.
    """
    spread, n = sample_sd(values), len(values)
    if spread is None:
        raise ValueError(f"an interval needs two or more values, got {n}; train more seeds")
    half = t_upper(n - 1, tail=(1 - LEVEL) / 2) * spread
    return Expected(mean(values), _around(values, half / math.sqrt(n)), _around(values, half * math.sqrt(1 + 1 / n)))


def _around(values: Sequence[float], half: float) -> Interval:
    return Interval(mean(values) - half, mean(values) + half)
