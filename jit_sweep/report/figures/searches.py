"""Figures of a search: what each proposal scored in the order of their coming, and by each axis that was searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from jit_sweep.report.figures.frame import draw_frame, field_of
from jit_sweep.report.figures.scale import scale_of
from jit_sweep.report.figures.svg import Drawing, Figure
from search_spaces.axes import AxisValue
from trainables.evaluation.metrics.registry import metric_of

WIDTH, HEIGHT = 460.0, 280.0
BEST = 1


@dataclass(frozen=True)
class Proposal:
    """A searched trial with a score."""

    number: int
    """From 1, in the order in which they were proposed."""
    values: Mapping[str, AxisValue]
    score: float
    collapsed: bool


def history_figure(proposals: Sequence[Proposal], *, metric: str) -> Figure:
    """Each proposal's score, and the best sound one so far as a line."""
    drawing = Drawing(WIDTH, HEIGHT)
    field = field_of(x=0, y=0, width=WIDTH, height=HEIGHT)
    x = scale_of([each.number for each in proposals], start=field.left, end=field.right, log=False)
    y = scale_of([each.score for each in proposals], start=field.bottom, end=field.top)
    draw_frame(drawing, field, x=x, y=y, x_name="proposal", y_name="", title=f"{metric} of proposals, and the best so far")
    sound = [each for each in proposals if not each.collapsed]
    better = min if metric_of(metric).direction == "minimize" else max
    best = list(accumulate((each.score for each in sound), better))
    drawing.path([(x(each.number), y(value)) for each, value in zip(sound, best, strict=True)], series=BEST)
    for each in proposals:
        drawing.dot(x(each.number), y(each.score), series=0, hollow=each.collapsed)
    told = (
        f"{len(proposals)} proposals; the best scores {best[-1]:.4g}" if best else f"{len(proposals)} proposals, all collapsed"
    )
    return drawing.finished("search-history", title=f"{metric} in the order of proposals", alt=told)


def slice_figure(proposals: Sequence[Proposal], *, axis: str, metric: str) -> Figure | None:
    """Scores by one axis with numbers; None where fewer than two proposals have one, or all the same."""
    known = [(value, each) for each in proposals if (value := _number(each.values.get(axis))) is not None]
    if len({value for value, _ in known}) < 2:
        return None
    drawing = Drawing(WIDTH, HEIGHT)
    field = field_of(x=0, y=0, width=WIDTH, height=HEIGHT)
    x = scale_of([value for value, _ in known], start=field.left, end=field.right)
    y = scale_of([each.score for _, each in known], start=field.bottom, end=field.top)
    draw_frame(drawing, field, x=x, y=y, x_name=axis, y_name="", title=f"{metric} by {axis}")
    for value, each in known:
        drawing.dot(x(value), y(each.score), series=0, hollow=each.collapsed)
    told = ", ".join(f"{value:.4g}: {each.score:.4g}" for value, each in sorted(known, key=lambda pair: pair[0])[:40])
    return drawing.finished(f"slice-{axis}", title=f"{metric} by {axis}", alt=told)


def _number(value: AxisValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
