"""A forest plot: each question's effect with its interval, around no effect."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.report.figures.scale import scale_of
from jit_sweep.report.figures.svg import FAINT, Drawing, Figure, text_width
from jit_sweep.report.numbers import rounded

WIDTH, ROW, TOP, BOTTOM = 920.0, 34.0, 30.0, 46.0
MOST_LABEL_PX = 420.0
MOST_ROWS = 40
SERIES_OF_VERDICT = {"REAL": 0, "EQUIVALENT": 2, "CONFLICT": 1}
"""Colours of verdicts; others are grey."""
GREY = 7


@dataclass(frozen=True)
class Effect:
    """A contrast's effect, such as -23 % with an interval."""

    question: str
    estimate: float
    low: float
    high: float
    unit: str
    """`%`, or the metric's own."""
    verdict: str


def forest_figure(effects: Sequence[Effect], *, metric: str) -> Figure:
    """A row for each effect, at most `MOST_ROWS`: a point with its interval, filled where the verdict is REAL."""
    drawn = effects[:MOST_ROWS]
    label_px = min(MOST_LABEL_PX, max(text_width(effect.question) for effect in drawn) + 12)
    drawing = Drawing(WIDTH, TOP + ROW * len(drawn) + BOTTOM)
    ends = [end for effect in drawn for end in (effect.low, effect.high)]
    x = scale_of([0.0, *ends], start=label_px + 10, end=WIDTH - 150, log=False)
    bottom = TOP + ROW * len(drawn)
    for tick in x.ticks(6):
        drawing.line(x(tick), TOP, x(tick), bottom)
        drawing.text(x(tick), bottom + 17, f"{tick:+.4g}" if tick else "0", anchor="middle", faint=True)
    drawing.line(x(0), TOP - 6, x(0), bottom, of="axis", colour=FAINT, px=1.5)
    drawing.text(
        x(0), bottom + 36, f"difference of {metric}, {drawn[0].unit}: left of 0 the first is lower", anchor="middle", faint=True
    )
    for row, effect in enumerate(drawn):
        _draw(drawing, effect, x(effect.low), x(effect.estimate), x(effect.high), y=TOP + ROW * (row + 0.5), label_px=label_px)
    told = "; ".join(f"{each.question}: {effect_in_words(each)}, {each.verdict}" for each in drawn)
    return drawing.finished("effects", title=f"Effects on {metric} with their intervals", alt=told)


def _draw(drawing: Drawing, effect: Effect, low: float, middle: float, high: float, *, y: float, label_px: float) -> None:
    series = SERIES_OF_VERDICT.get(effect.verdict, GREY)
    most = int(label_px / (text_width("x") * 1.0))
    question = effect.question if len(effect.question) <= most else f"{effect.question[: most - 1]}…"
    drawing.text(label_px, y + 4, question, anchor="end")
    drawing.path([(low, y), (high, y)], series=series)
    for end in (low, high):
        drawing.path([(end, y - 5), (end, y + 5)], series=series)
    drawing.dot(middle, y, series=series, radius=5, hollow=effect.verdict != "REAL")
    drawing.text(WIDTH - 140, y + 4, effect_in_words(effect), faint=False)


def effect_in_words(effect: Effect) -> str:
    """Such as `-363 [-391, -336]`."""
    error = (effect.high - effect.low) / 4
    ends = (rounded(effect.low, error), rounded(effect.high, error))
    return f"{rounded(effect.estimate, error)} [{', '.join(ends)}]"
