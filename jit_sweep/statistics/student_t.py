"""The little statistics that verdicts need: a mean and a spread over seeds, and Student's t."""

import math
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.95


class Interval(NamedTuple):
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float | None:
    """The standard deviation with n - 1; None of fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_upper(dof: int, *, tail: float) -> float:
    """Student's t that a share `tail` lies above, 0 < tail <= 0.5."""
    from scipy.special import stdtrit  # slow to import, and only verdicts need it

    return -float(stdtrit(dof, tail))
