"""Figures of a search: scores in the order of proposals and by each axis, what mattered, all axes at once, the Pareto front."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise

from jit_sweep.report.figures.frame import draw_frame, field_of
from jit_sweep.report.figures.scale import Scale, scale_of
from jit_sweep.report.figures.svg import FAINT, Drawing, Figure
from jit_sweep.report.numbers import compact
from jit_sweep.report.search_stages import Proposal, SearchedStage
from jit_sweep.search.importance import Importance
from trainables.evaluation.metrics.registry import metric_of

WIDTH, HEIGHT, ROW = 460.0, 280.0, 30.0
BEST, OTHER = 1, 7
BEST_SHARE = 0.1
"""Of the proposals, those that the parallel coordinates show in colour."""
MOST_LINES = 400
"""Proposals that one diagram of parallel coordinates draws, the best first."""


def search_figures(stage: SearchedStage, *, metric: str) -> list[Figure]:
    """All that one search has, in the order in which it is read."""
    axes = list(dict.fromkeys(axis for proposal in stage.proposals for axis in proposal.values))
    figures = (
        history_figure(stage.proposals, metric=metric),
        front_figure(stage),
        importance_figure(stage.importances, metric=stage.objectives[0]),
        parallel_figure(stage.proposals, axes, metric=metric),
        *(slice_figure(stage.proposals, axis=axis, metric=metric) for axis in axes),
    )
    return [figure for figure in figures if figure is not None]


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
    steps = [(x(each.number), y(value)) for each, value in zip(sound, best, strict=True)]
    corners = [corner for (_, before), (right, level) in pairwise(steps) for corner in ((right, before), (right, level))]
    drawing.path([*steps[:1], *corners], series=BEST)
    for each in proposals:
        drawing.dot(x(each.number), y(each.score), series=0, hollow=each.collapsed)
    told = (
        f"{len(proposals)} proposals; the best scores {best[-1]:.4g}" if best else f"{len(proposals)} proposals, all collapsed"
    )
    return drawing.finished("search-history", title=f"{metric} in the order of proposals", alt=told)


def importance_figure(shares: Sequence[Importance], *, metric: str) -> Figure | None:
    """A bar for each axis, its share with the interval over resamples; None where there are no shares."""
    if not shares:
        return None
    drawing = Drawing(WIDTH, 70 + ROW * len(shares))
    drawing.text(12, 20, f"what makes the best tenth by {metric}", bold=True)
    x = scale_of([0.0, 1.0], start=150, end=WIDTH - 60, log=False, margin=0)
    bottom = 34 + ROW * len(shares)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        drawing.line(x(tick), 34, x(tick), bottom)
        drawing.text(x(tick), bottom + 17, f"{tick:.0%}", anchor="middle", faint=True)
    for row, each in enumerate(shares):
        y = 34 + ROW * (row + 0.5)
        drawing.text(142, y + 4, each.axis, anchor="end")
        drawing.path([(x(0), y), (x(each.share), y)], series=0, px=10)
        drawing.path([(x(each.low), y), (x(each.high), y)], series=BEST, px=2)
        drawing.text(WIDTH - 52, y + 4, f"{each.share:.0%}")
    told = "; ".join(f"{each.axis} {each.share:.0%} [{each.low:.0%}, {each.high:.0%}]" for each in shares)
    return drawing.finished("search-importance", title=f"Importance of axes for {metric}", alt=told)


def parallel_figure(proposals: Sequence[Proposal], axes: Sequence[str], *, metric: str) -> Figure | None:
    """A line for each sound proposal through its values, the best tenth in colour; None of fewer than two axes or proposals."""
    sound = sorted((each for each in proposals if not each.collapsed), key=lambda each: metric_of(metric).loss(each.score))
    drawn = sound[:MOST_LINES]
    if len(axes) < 2 or len(drawn) < 2:
        return None
    drawing = Drawing(2 * WIDTH, HEIGHT + 20)
    names = [*axes, metric]
    top, bottom = 46.0, HEIGHT - 10
    places = [90 + index * (2 * WIDTH - 180) / (len(names) - 1) for index in range(len(names))]
    columns = {name: _column([_on(each, name, metric) for each in drawn], top=top, bottom=bottom) for name in names}
    best = max(1, round(BEST_SHARE * len(sound)))
    for rank, each in reversed(list(enumerate(drawn))):
        for way in _ways([(place, _on(each, name, metric), columns[name]) for place, name in zip(places, names, strict=True)]):
            drawing.path(way, series=BEST if rank < best else OTHER, px=2 if rank < best else 0.6)
    for place, name in zip(places, names, strict=True):
        drawing.line(place, top, place, bottom, of="axis", colour=FAINT)
        drawing.text(place, top - 14, name, anchor="middle", bold=True)
        for value, y in columns[name].marks:
            drawing.text(place + 6, y + 4, value, faint=True)
    told = "; ".join(f"{each.score:.4g}: {', '.join(f'{a} {v}' for a, v in each.values.items())}" for each in drawn[:best][:8])
    return drawing.finished("search-parallel", title=f"All axes and {metric}; the best tenth in colour", alt=f"best: {told}")


def front_figure(stage: SearchedStage) -> Figure | None:
    """The first two objectives, the Pareto front as a line; None of a search with one objective."""
    known = [each for each in stage.proposals if len(each.objectives) > 1]
    if not known:
        return None
    first, second = stage.objectives[:2]
    drawing = Drawing(WIDTH, HEIGHT)
    field = field_of(x=0, y=0, width=WIDTH, height=HEIGHT)
    x = scale_of([each.objectives[0] for each in known], start=field.left, end=field.right)
    y = scale_of([each.objectives[1] for each in known], start=field.bottom, end=field.top)
    draw_frame(drawing, field, x=x, y=y, x_name=first, y_name=second, title="Pareto front")
    front = sorted(each.objectives[:2] for each in known if each.on_front)
    if len(front) > 1:
        drawing.path([(x(a), y(b)) for a, b in front], series=BEST)
    for each in known:
        a, b = each.objectives[:2]
        drawing.dot(x(a), y(b), series=BEST if each.on_front else 0, hollow=each.collapsed)
    told = "; ".join(f"{a:.4g}, {b:.4g}" for a, b in front[:40]) or "no proposal is on it"
    return drawing.finished("search-front", title=f"{second} against {first}", alt=f"on the front: {told}")


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


_ABSENT = object()


class _Column:
    """One axis of the parallel coordinates: of numbers by their scale, of words each at its own height."""

    def __init__(self, scale: Scale | None, words: Mapping[object, float]) -> None:
        self._scale, self._words = scale, words

    def place(self, value: object) -> float:
        if self._scale is not None and isinstance(value, int | float):
            return self._scale(float(value))
        return self._words[value]

    @property
    def marks(self) -> list[tuple[str, float]]:
        if self._scale is not None:
            return [(compact(tick), self._scale(tick)) for tick in self._scale.ticks(5)]
        return [("none" if value is None else str(value), y) for value, y in self._words.items()]


def _ways(met: Sequence[tuple[float, object, _Column]]) -> Iterator[list[tuple[float, float]]]:
    """The parts of a line through columns at places, broken at each that its proposal has no value of."""
    for has_value, part in groupby(met, key=lambda each: each[1] is not _ABSENT):
        points = [(place, column.place(value)) for place, value, column in part] if has_value else []
        if len(points) > 1:
            yield points


def _column(values: Sequence[object], *, top: float, bottom: float) -> _Column:
    known = [value for value in values if value is not _ABSENT]
    numbers = [number for value in known if (number := _number(value)) is not None]
    if len(numbers) == len(known) and numbers:
        return _Column(scale_of(numbers, start=bottom, end=top), {})
    words = list(dict.fromkeys(known))
    step = (bottom - top) / max(1, len(words))
    return _Column(None, {word: top + step * (index + 0.5) for index, word in enumerate(words)})


def _on(proposal: Proposal, name: str, metric: str) -> object:
    return proposal.score if name == metric else proposal.values.get(name, _ABSENT)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
