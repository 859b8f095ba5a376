"""An interaction: a metric's mean over one axis, a line for each value of another. Lines that are not parallel interact."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from jit_sweep.report.figures.frame import LEFT, RIGHT, Field, field_of
from jit_sweep.report.figures.scale import Scale, scale_of
from jit_sweep.report.figures.svg import FAINT, Drawing, Figure
from jit_sweep.report.numbers import compact
from jit_sweep.results.arms import Arm
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import metric_of

WIDTH, HEIGHT = 460.0, 320.0
MOST_LINES, MOST_COLUMNS = 8, 16
"""Values of two axes that one figure can tell apart."""
PATCH_SIZE = "patch_size"


@dataclass(frozen=True)
class Interaction:
    """The mean of a metric by the values of two axes, over the arms that have both."""

    metric: str
    across: str
    by: str
    values: tuple[AxisValue, ...]
    """Of `across`, in the order of the axis."""
    lines: Mapping[str, tuple[tuple[float, float | None, bool] | None, ...]]
    """By the words of `by`'s value: mean, standard deviation and whether a seed collapsed, for each value of `across`."""


def interactions(arms: Sequence[Arm], *, metric: str) -> list[Interaction]:
    """One for each pair of axes that were crossed, with values that can be drawn, those with the patch size first."""
    planned = sorted(arms, key=lambda arm: arm.position)
    axes = list(dict.fromkeys(axis for arm in planned for axis in arm.arm))
    pairs = sorted(combinations(axes, 2), key=lambda pair: PATCH_SIZE not in pair)
    found = [_interaction(planned, metric, *(pair if pair[0] == PATCH_SIZE else reversed(pair))) for pair in pairs]
    return [each for each in found if each is not None]


def interaction_figure(shown: Interaction) -> Figure:
    """Means with their standard deviations; hollow points are of arms with a collapsed seed."""
    drawing = Drawing(WIDTH, HEIGHT)
    field = field_of(x=0, y=0, width=WIDTH, height=HEIGHT - 22)
    points = [point for line in shown.lines.values() for point in line if point is not None]
    y = scale_of(
        [each for mean, sd, _ in points for each in (mean - (sd or 0), mean + (sd or 0))], start=field.bottom, end=field.top
    )
    places = _places(len(shown.values), field)
    _frame(drawing, shown, field, y, places)
    for series, (label, line) in enumerate(shown.lines.items()):
        _draw_line(drawing, line, places, y, series=series)
        left = LEFT + series * (WIDTH - LEFT - RIGHT) / len(shown.lines)
        drawing.dot(left + 5, HEIGHT - 12, series=series)
        drawing.text(left + 14, HEIGHT - 8, f"{shown.by}={label}")
    title = f"{shown.metric}: {shown.across} by {shown.by}"
    return drawing.finished(f"interaction-{shown.across}-{shown.by}", title=title, alt=_told(shown))


def _interaction(arms: Sequence[Arm], metric: str, across: str, by: str) -> Interaction | None:
    both = [arm for arm in arms if across in arm.arm and by in arm.arm and metric in arm.metrics]
    columns = sorted({arm.arm[across] for arm in both}, key=_order)
    rows = list(dict.fromkeys(arm.arm[by] for arm in both))
    if not (2 <= len(columns) <= MOST_COLUMNS and 2 <= len(rows) <= MOST_LINES):
        return None
    alike: defaultdict[tuple[AxisValue, AxisValue], list[Arm]] = defaultdict(list)
    for arm in both:
        alike[arm.arm[by], arm.arm[across]].append(arm)
    lines = {str(row): tuple(_mean(alike[row, column], metric) for column in columns) for row in rows}
    return Interaction(metric, across, by, tuple(columns), lines)


def _mean(arms: Sequence[Arm], metric: str) -> tuple[float, float | None, bool] | None:
    """Of one arm its own mean and spread, of several the mean of their means; None of none."""
    if not arms:
        return None
    means = [arm.metrics[metric].mean for arm in arms]
    spread = arms[0].metrics[metric].sd if len(arms) == 1 else None
    return sum(means) / len(means), spread, any(arm.collapsed for arm in arms)


def _order(value: AxisValue) -> tuple[bool, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _places(count: int, field: Field) -> list[float]:
    step = (field.right - field.left) / count
    return [field.left + step * (index + 0.5) for index in range(count)]


def _frame(drawing: Drawing, shown: Interaction, field: Field, y: Scale, places: Sequence[float]) -> None:
    for tick in y.ticks(5):
        drawing.line(field.left, y(tick), field.right, y(tick))
        drawing.text(field.left - 6, y(tick) + 4, compact(tick), anchor="end", faint=True)
    for place, value in zip(places, shown.values, strict=True):
        drawing.text(place, field.bottom + 17, str(value), anchor="middle", faint=True)
    drawing.line(field.left, field.bottom, field.right, field.bottom, of="axis", colour=FAINT)
    drawing.text((field.left + field.right) / 2, field.bottom + 34, shown.across, anchor="middle", faint=True)
    better = "lower" if metric_of(shown.metric).direction == "minimize" else "higher"
    drawing.text(field.left - 50, field.top - 14, f"{shown.metric} ({better} is better)", bold=True)


def _draw_line(
    drawing: Drawing, line: Sequence[tuple[float, float | None, bool] | None], places: Sequence[float], y: Scale, *, series: int
) -> None:
    known = [(place, point) for place, point in zip(places, line, strict=True) if point is not None]
    if len(known) > 1:
        drawing.path([(place, y(point[0])) for place, point in known], series=series)
    for place, (mean, sd, collapsed) in known:
        if sd:
            drawing.path([(place, y(mean - sd)), (place, y(mean + sd))], series=series, px=1.5)
        drawing.dot(place, y(mean), series=series, radius=5, hollow=collapsed)


def _told(shown: Interaction) -> str:
    parts = []
    for label, line in shown.lines.items():
        means = (
            f"{value}: {point[0]:.4g}{' (collapsed)' if point[2] else ''}"
            for value, point in zip(shown.values, line, strict=True)
            if point is not None
        )
        parts.append(f"{shown.by}={label} at {shown.across} {', '.join(means)}")
    return "; ".join(parts)
