"""The tables of a report."""

from dataclasses import dataclass

from jit_sweep.report import tables
from jit_sweep.report.contents import Report
from jit_sweep.report.tables import Table
from jit_sweep.report.words import words_table

MOST_ROWS = 300
"""Rows of a table that are shown; all trials are in one that scrolls, and in JSON."""


@dataclass(frozen=True)
class Tables:
    """The report's tables."""

    effects: Table
    arms: Table
    quality: Table
    searched: Table
    tuning: Table
    own_best: Table
    sampling: Table
    losses: Table
    cost: Table
    words: Table

    @property
    def every(self) -> tuple[Table, ...]:
        """Those that have rows."""
        chosen = (self.searched, self.tuning, self.own_best, self.sampling)
        own = (self.effects, self.arms, self.quality, *chosen, self.losses, self.cost, self.words)
        return tuple(table for table in own if table.rows)


def tables_of(report: Report) -> Tables:
    """The tables, each with its first `MOST_ROWS` rows."""
    results = report.results
    own = (
        tables.effects_table(report.cards),
        tables.arms_table(results.arms, objective=results.objective, heldout=results.heldout),
        tables.quality_table(report.quality, metric=report.quality_metric),
        tables.searched_table(results.searched, report.front, objective=results.objective),
        tables.tuning_table(results.tuning),
        tables.own_best_table(report.tuned),
        tables.sampling_table(report.surfaces),
        tables.losses_table(report.losses),
        tables.cost_table(report.costs),
        words_table(results),
    )
    return Tables(*(tables.first_rows(table, MOST_ROWS) for table in own))
