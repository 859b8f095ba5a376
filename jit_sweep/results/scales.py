"""On which scale a metric's differences are compared: as a ratio, or as they are."""

import math

from jit_sweep.statistics.student_t import Interval
from trainables.evaluation.metrics.metric import Scale
from trainables.evaluation.metrics.registry import metric_of

MARGIN = 0.03
"""Ratios closer than this count as equivalent where no margin is given."""


def scale_of(metric: str) -> Scale:
    """The scale of a score by its shown name."""
    return metric_of(metric).scale


def on_scale(value: float, scale: Scale) -> float:
    """NaN where it has no place there: no distance is 0 or less."""
    if scale == "raw":
        return value
    return math.log(value) if value > 0 else math.nan


def unscaled(value: float, scale: Scale) -> float:
    """The score that has this place on the scale."""
    return math.exp(value) if scale == "log" else value


def margin_on(scale: Scale, margin: float | None) -> float | None:
    """The margin of equivalence on the scale; None where there is none."""
    if scale == "raw":
        return margin
    return math.log1p(MARGIN if margin is None else margin)


def shown_on(scale: Scale, value: float) -> float:
    """A difference as people read it: in percent, or as it is."""
    return 100 * math.expm1(value) if scale == "log" else value


def in_words(scale: Scale, value: float, *, sign: bool = True) -> str:
    """Such as `-23.0 %`, or `-0.381`."""
    shown = shown_on(scale, value)
    if scale == "log":
        return f"{shown:{'+' if sign else ''}.{1 if abs(shown) < 1000 else 0}f} %"
    return f"{shown:{'+' if sign else ''}.3g}"


def interval_in_words(scale: Scale, interval: Interval) -> str:
    """Such as `[-24.7, -21.3]`."""
    low, high = (in_words(scale, end).removesuffix(" %") for end in interval)
    return f"[{low}, {high}]"
