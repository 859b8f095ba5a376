"""What a search starts from, and the trial that a proposal makes of it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from jit_sweep.ledger.records import EntryRow, ScoreRow
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.results.comparable import Marks
from jit_sweep.results.leaderboard import best_cell
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, put
from trainables.config.recipe import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What a search varies, how far its trials go, and the settings of the evaluation of the cell it starts from."""

    base: Mapping[str, AxisValue]
    """The cell by its axis values; empty: the baseline."""
    recipe: Recipe
    images: int
    evaluation: dict[str, AxisValue]

    def is_of(self, base: Mapping[str, AxisValue], planner: Planner) -> bool:
        """Whether a cell is the one that the search starts from, however many of its axes are named."""
        if base == self.base:
            return True
        try:
            cell = put(planner.baseline, base)
        except ValueError:
            return False
        return (cell.recipe, cell.evaluation) == (self.recipe, self.evaluation)


def start_of(
    planner: Planner,
    rows: Sequence[EntryRow],
    scores: Sequence[ScoreRow],
    *,
    stage: int,
    marks: Marks = MappingProxyType({}),
) -> Origin:
    """What the search of a stage starts from: the baseline, or the best cell of the grids before it as the scores stand, where
    one is better than the `marks`."""
    spec = planner.spec
    if searches(spec)[stage].start == "best_cell":
        earlier = [row for row in rows if row.stage < stage and row.origin == "grid"]
        best = best_cell(earlier, scores, objective=spec.objective, marks=marks)
        if best is not None:
            base = {**best.arm, **best.trials[0].entry.base}
            cell = put(planner.baseline, base)
            return Origin(base, cell.recipe, best.images, cell.evaluation)
        _log.warning(
            "no cell has all its scores without a collapsed seed, better than blank images: the search starts from the baseline"
        )
    return Origin({}, planner.baseline, spec.budget.images_per_trial, {})


def proposed_entry(planner: Planner, start: Origin, cell: Cell, *, stage: int, seed: int, position: int = 0) -> Entry:
    """One trial of a proposal. ValueError: the cell makes none."""
    own = replace(cell, evaluation={**start.evaluation, **cell.evaluation})
    return planner.entry(own, stage=stage, position=position, seed=seed, images=start.images, base=start.base)
