"""The little statistics that verdicts need: a mean over seeds and a t interval."""

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


def t_interval(values: Sequence[float]) -> Interval | None:
    """The two-sided 95 % interval for the mean of normal values, by Student's t; None of fewer than two values."""
    spread = sample_sd(values)
    if spread is None:
        return None
    half = t_quantile(0.5 + LEVEL / 2, len(values) - 1) * spread / math.sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)


def t_quantile(p: float, dof: int) -> float:
    """Student's t below which a share p lies, 0.5 <= p < 1."""
    from scipy.special import stdtrit  # slow to import, and only verdicts need it

    if not 0.5 <= p < 1 or dof < 1:
        raise ValueError(f"`t_quantile` needs 0.5 <= p < 1 and dof >= 1, got p={p}, dof={dof}")
    return float(stdtrit(dof, p))
