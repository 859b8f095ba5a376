"""How far apart two arms may be by the luck of their seeds alone."""

import math
from collections.abc import Sequence
from statistics import median

from jit_sweep.statistics.student_t import sample_sd

LUCK_Z = 2.0
"""Standard errors that are still called luck."""


def typical_sd(arms: Sequence[Sequence[float]]) -> float | None:
    """The median over arms of the standard deviation over seeds, which one unstable arm does not move; None of single seeds."""
    spreads = [spread for arm in arms if (spread := sample_sd(arm)) is not None]
    return median(spreads) if spreads else None


def luck_allowance(sd: float, seeds: int, *, z: float = LUCK_Z) -> float:
    """z sqrt(2) s / sqrt(n): how far the means of two equal arms of n seeds lie apart by luck."""
    return z * math.sqrt(2.0) * sd / math.sqrt(seeds)
