"""From values to places on paper, and where an axis has its marks. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LOG_FROM_RATIO = 8.0
"""Positive values that are further apart than this are shown on a logarithmic axis."""


@dataclass(frozen=True)
class Scale:
    """One axis: values from `low` to `high` at places from `start` to `end`, in px."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value, in px."""
        share = (self._of(value) - self._of(self.low)) / (self._of(self.high) - self._of(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the axis, at most so many."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)

    def _of(self, value: float) -> float:
        return math.log(value) if self.log else value


def scale_of(values: Iterable[float], *, start: float, end: float, log: bool | None = None, margin: float = 0.05) -> Scale:
    """An axis that holds all finite values with some margin; logarithmic where it is asked for, or where positive values
    are far apart (`LOG_FROM_RATIO`)."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log is None:
        log = low > 0 and high / low > LOG_FROM_RATIO
    if log:
        pad = max(math.log(high / low) * margin, 0.02)
        return Scale(low / math.exp(pad), high * math.exp(pad), start, end, log=True)
    pad = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low - pad, high + pad, start, end)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(size * decade for size in _STEPS if size * decade >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for within in ((1, 2, 5), (1, 3), (1,)):
        ticks = [part * 10.0**decade for decade in decades for part in within]
        inside = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(inside) <= most:
            return inside
    if len(inside) > most:
        return inside[:: -(-len(inside) // most)]
    return _linear_ticks(low, high, most)
