"""A forest plot: each question's effect with its interval, around no effect."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.report.figures.scale import scale_of
from jit_sweep.report.figures.svg import FAINT, LETTER_PX, Drawing, Figure, text_width
from jit_sweep.report.numbers import rounded

WIDTH, ROW, TOP, BOTTOM = 920.0, 34.0, 30.0, 46.0
MOST_LABEL_PX = 420.0
MOST_ROWS = 40
SERIES_OF_VERDICT = {"REAL": 0, "EQUIVALENT": 2, "CONFLICT": 1}
"""Colours of verdicts; others are grey."""
GREY = 7


@dataclass(frozen=True)
class Bar:
    """A contrast's effect, such as -23 % with an interval."""

    question: str
    estimate: float
    low: float
    high: float
    unit: str
    """`%`, or the metric's own."""
    verdict: str


def forest_figure(bars: Sequence[Bar], *, metric: str) -> Figure:
    """A row for each effect, at most `MOST_ROWS`: a point with its interval, filled where the verdict is REAL."""
    drawn = bars[:MOST_ROWS]
    label_px = min(MOST_LABEL_PX, max(text_width(bar.question) for bar in drawn) + 12)
    drawing = Drawing(WIDTH, TOP + ROW * len(drawn) + BOTTOM)
    ends = [end for bar in drawn for end in (bar.low, bar.high)]
    x = scale_of([0.0, *ends], start=label_px + 10, end=WIDTH - 150, log=False)
    bottom = TOP + ROW * len(drawn)
    for tick in x.ticks(6):
        drawing.line(x(tick), TOP, x(tick), bottom)
        drawing.text(x(tick), bottom + 17, f"{tick:+.4g}" if tick else "0", anchor="middle", faint=True)
    drawing.line(x(0), TOP - 6, x(0), bottom, of="axis", colour=FAINT, px=1.5)
    drawing.text(
        x(0), bottom + 36, f"difference of {metric}, {drawn[0].unit}: left of 0 the first is lower", anchor="middle", faint=True
    )
    for row, bar in enumerate(drawn):
        _draw(drawing, bar, x(bar.low), x(bar.estimate), x(bar.high), y=TOP + ROW * (row + 0.5), label_px=label_px)
    told = "; ".join(f"{each.question}: {bar_in_words(each)}, {each.verdict}" for each in drawn)
    return drawing.finished("effects", title=f"Effects on {metric} with their intervals", alt=told)


def _draw(drawing: Drawing, bar: Bar, low: float, middle: float, high: float, *, y: float, label_px: float) -> None:
    series = SERIES_OF_VERDICT.get(bar.verdict, GREY)
    most = int(label_px / LETTER_PX)
    question = bar.question if len(bar.question) <= most else f"{bar.question[: most - 1]}…"
    drawing.text(label_px, y + 4, question, anchor="end")
    drawing.path([(low, y), (high, y)], series=series)
    for end in (low, high):
        drawing.path([(end, y - 5), (end, y + 5)], series=series)
    drawing.dot(middle, y, series=series, radius=5, hollow=bar.verdict != "REAL")
    drawing.text(WIDTH - 140, y + 4, bar_in_words(bar))


def bar_in_words(bar: Bar) -> str:
    """Such as `-23.0 % [-24.7, -21.3]`."""
    error = (bar.high - bar.low) / 4
    ends = (rounded(bar.low, error), rounded(bar.high, error))
    return f"{rounded(bar.estimate, error)}{' %' if bar.unit == '%' else ''} [{', '.join(ends)}]"
