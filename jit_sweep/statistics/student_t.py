"""The little statistics that verdicts need, in plain Python: a mean over seeds and a t interval."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

LEVEL = 0.95
_TINY = 1e-300
_MOST_TERMS = 500


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


@cache
def t_quantile(p: float, dof: int) -> float:
    """Student's t below which a share p lies, 0.5 <= p < 1, to about ten digits."""
    if not 0.5 <= p < 1 or dof < 1:
        raise ValueError(f"`t_quantile` needs 0.5 <= p < 1 and dof >= 1, got p={p}, dof={dof}")
    low, high = 0.0, 1.0
    while t_cdf(high, dof) < p:
        low, high = high, 2 * high
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if t_cdf(middle, dof) < p else (low, middle)


def t_cdf(t: float, dof: int) -> float:
    """P(T <= t) for t >= 0: 1 - I_x(dof/2, 1/2) / 2 with x = dof / (dof + t^2) (Abramowitz and Stegun 26.5.27)."""
    return 1 - incomplete_beta(dof / (dof + t * t), dof / 2, 0.5) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (A&S 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    # The fraction converges fast below the distribution's mean; above it, I_x(a, b) = 1 - I_{1-x}(b, a).
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) of A&S 26.5.8, from the front by the modified Lentz algorithm."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, _MOST_TERMS):
        m = term // 2
        if term % 2:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + numerator * d or _TINY)
        c = 1 + numerator / c or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
