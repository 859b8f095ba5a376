"""Learning curves: a panel for each group of arms, against images or against training FLOPs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from jit_sweep.report.curves import Curve, Point
from jit_sweep.report.figures.frame import Field, draw_frame, field_of
from jit_sweep.report.figures.scale import Scale, scale_of
from jit_sweep.report.figures.svg import Drawing, Figure, text_width

Against = Literal["images", "flops"]
NAMES: Mapping[Against, str] = {"images": "training images", "flops": "training FLOPs"}
PANEL_WIDTH, PANEL_HEIGHT = 460.0, 300.0
LEGEND_ROW, LEGEND_PAD = 18.0, 8.0
MOST_CURVES = 48
"""Curves that one figure draws: more cannot be told apart."""


def learning_figure(curves: Sequence[Curve], *, against: Against) -> Figure:
    """Mean over seeds with its standard deviation, at most `MOST_CURVES` of them in the given order; a legend below."""
    drawn = curves[:MOST_CURVES]
    metric, series = drawn[0].metric, {curve.label: index for index, curve in enumerate(drawn)}
    per_row = _legend_columns(list(series))
    drawing = Drawing(2 * PANEL_WIDTH, PANEL_HEIGHT + LEGEND_PAD + LEGEND_ROW * -(-len(series) // per_row))
    field = field_of(x=0, y=0, width=2 * PANEL_WIDTH, height=PANEL_HEIGHT)
    points = [point for curve in drawn for point in curve.points]
    x = scale_of([_at(point, against) for point in points], start=field.left, end=field.right, margin=0.02)
    y = scale_of([point.mean for point in points], start=field.bottom, end=field.top)
    draw_frame(drawing, field, x=x, y=y, x_name=NAMES[against], y_name=metric, title=f"{metric} against {NAMES[against]}")
    for curve in drawn:
        _draw(drawing, curve, against, x, y, field, series=series[curve.label])
    _draw_legend(drawing, series, top=PANEL_HEIGHT + LEGEND_PAD, columns=per_row)
    ends = "; ".join(f"{curve.label} ends at {curve.points[-1].mean:.4g}" for curve in drawn)
    return drawing.finished(f"learning-{metric}-{against}", title=f"{metric} against {NAMES[against]}", alt=ends)


def by_metric(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves of one metric together."""
    metrics: defaultdict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        metrics[curve.metric].append(curve)
    return metrics


def _at(point: Point, against: Against) -> float:
    return point.images if against == "images" else point.flops


def _draw(drawing: Drawing, curve: Curve, against: Against, x: Scale, y: Scale, field: Field, *, series: int) -> None:
    places = [(x(_at(point, against)), y(point.mean)) for point in curve.points]
    spreads = [point.sd or 0.0 for point in curve.points]
    above = [(px, _within(y, point.mean + sd, field)) for (px, _), point, sd in zip(places, curve.points, spreads, strict=True)]
    below = [(px, _within(y, point.mean - sd, field)) for (px, _), point, sd in zip(places, curve.points, spreads, strict=True)]
    if any(spreads) and len(places) > 1:
        drawing.band([*above, *reversed(below)], series=series, data=curve.label)
    drawing.path(places, series=series, data=curve.label)
    for place in places:
        drawing.dot(*place, series=series, data=curve.label)


def _within(y: Scale, value: float, field: Field) -> float:
    """The place of a value; at the edge where it lies beyond."""
    if y.log and value <= 0:
        return field.bottom
    return min(field.bottom, max(field.top, y(value)))


def _legend_columns(labels: Sequence[str]) -> int:
    widest = max(map(text_width, labels)) + 44
    return max(1, min(len(labels), int(2 * PANEL_WIDTH // widest)))


def _draw_legend(drawing: Drawing, series: Mapping[str, int], *, top: float, columns: int) -> None:
    width = drawing.width / columns
    for place, (label, index) in enumerate(series.items()):
        left, line = place % columns * width + 16, top + place // columns * LEGEND_ROW + 6
        drawing.path([(left, line), (left + 20, line)], series=index, data=label)
        drawing.dot(left + 10, line, series=index, data=label)
        drawing.text(left + 27, line + 4, label)
