"""The figures of a report, by the part of the report that they stand in."""

from dataclasses import dataclass, replace

from jit_sweep.report.contents import Report
from jit_sweep.report.figures.forest import forest_figure
from jit_sweep.report.figures.interaction import interaction_figure, interactions
from jit_sweep.report.figures.learning import by_metric, learning_figure
from jit_sweep.report.figures.sampling import sampling_figure
from jit_sweep.report.figures.searches import search_figures
from jit_sweep.report.figures.svg import Figure

MOST_INTERACTIONS = 6
MOST_SURFACES = 24


@dataclass(frozen=True)
class Figures:
    """All of a report's figures; empty where there is nothing to draw."""

    effects: tuple[Figure, ...]
    interactions: tuple[Figure, ...]
    learning: tuple[Figure, ...]
    searches: tuple[Figure, ...]
    sampling: tuple[Figure, ...]

    @property
    def every(self) -> tuple[Figure, ...]:
        return (*self.effects, *self.interactions, *self.learning, *self.searches, *self.sampling)


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
        searches=tuple(
            replace(figure, name=f"stage-{stage.stage}-{figure.name}") if len(report.searches) > 1 else figure
            for stage in report.searches
            for figure in search_figures(stage, metric=results.objective)
        ),
        sampling=tuple(sampling_figure(each, place=place) for place, each in enumerate(report.surfaces[:MOST_SURFACES])),
    )
