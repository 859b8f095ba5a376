"""The figures of a report, by the part of the report that they stand in."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.report.contents import Report
from jit_sweep.report.figures.forest import forest_figure
from jit_sweep.report.figures.interaction import interaction_figure, interactions
from jit_sweep.report.figures.learning import by_metric, learning_figure
from jit_sweep.report.figures.searches import Proposal, history_figure, slice_figure
from jit_sweep.report.figures.svg import Figure
from jit_sweep.results.arms import TrialResult

MOST_INTERACTIONS = 6


@dataclass(frozen=True)
class Figures:
    """All of a report's figures; empty where there is nothing to draw."""

    effects: tuple[Figure, ...]
    interactions: tuple[Figure, ...]
    learning: tuple[Figure, ...]
    searches: tuple[Figure, ...]

    @property
    def every(self) -> tuple[Figure, ...]:
        return (*self.effects, *self.interactions, *self.learning, *self.searches)


def figures_of(report: Report) -> Figures:
    """Draw a report's figures."""
    results = report.results
    bars = [card.bar for card in report.cards if card.bar is not None]
    crossed = interactions(results.arms, metric=results.objective)[:MOST_INTERACTIONS]
    return Figures(
        effects=(forest_figure(bars, metric=results.objective),) if bars else (),
        interactions=tuple(interaction_figure(each) for each in crossed),
        learning=tuple(
            learning_figure(curves, against=against)
            for curves in by_metric(report.curves).values()
            for against in ("images", "flops")
        ),
        searches=tuple(_of_search(results.searched, objective=results.objective)),
    )


def _of_search(searched: Sequence[TrialResult], *, objective: str) -> list[Figure]:
    proposals = [
        Proposal(number, trial.entry.arm, value, trial.collapsed)
        for number, trial in enumerate(sorted(searched, key=lambda trial: (trial.entry.stage, trial.entry.position)), start=1)
        if (value := trial.value(objective)) is not None
    ]
    if not proposals:
        return []
    axes = dict.fromkeys(axis for proposal in proposals for axis in proposal.values)
    slices = [slice_figure(proposals, axis=axis, metric=objective) for axis in axes]
    return [history_figure(proposals, metric=objective), *(figure for figure in slices if figure is not None)]
