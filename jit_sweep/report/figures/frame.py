"""The frame of a diagram: its two axes with marks and names, around a field that is drawn into."""

from dataclasses import dataclass

from jit_sweep.report.figures.scale import Scale
from jit_sweep.report.figures.svg import FAINT, Drawing
from jit_sweep.report.numbers import compact

LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 34.0, 46.0


@dataclass(frozen=True)
class Field:
    """Where a diagram's values are drawn, in px."""

    left: float
    top: float
    right: float
    bottom: float


def field_of(*, x: float, y: float, width: float, height: float) -> Field:
    """The field of a diagram that takes this rectangle with its axes and title."""
    return Field(x + LEFT, y + TOP, x + width - RIGHT, y + height - BOTTOM)


def draw_frame(drawing: Drawing, field: Field, *, x: Scale, y: Scale, x_name: str, y_name: str, title: str = "") -> None:
    """Grid lines, marks and the names of the axes; a title above."""
    for tick in y.ticks(5):
        drawing.line(field.left, y(tick), field.right, y(tick))
        drawing.text(field.left - 6, y(tick) + 4, compact(tick), anchor="end", faint=True)
    for tick in x.ticks(max(2, int((field.right - field.left) // 70))):
        drawing.line(x(tick), field.bottom, x(tick), field.bottom + 4, of="axis", colour=FAINT)
        drawing.text(x(tick), field.bottom + 17, compact(tick), anchor="middle", faint=True)
    drawing.line(field.left, field.bottom, field.right, field.bottom, of="axis", colour=FAINT)
    drawing.text((field.left + field.right) / 2, field.bottom + 36, x_name, anchor="middle", faint=True)
    drawing.text(field.left - 50, (field.top + field.bottom) / 2, y_name, anchor="middle", faint=True, turned=True)
    if title:
        drawing.text(field.left, field.top - 14, title, bold=True)
