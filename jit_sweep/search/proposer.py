"""What a search plans next: its sampler gets the outcomes of the trials before, and is asked for one arm more."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.results.arms import with_scores
from jit_sweep.results.leaderboard import best_cell
from jit_sweep.search.history import Observation, observations_of
from jit_sweep.search.warm_start import warm_observations
from jit_sweep.spec.stages import SearchSpec
from search_spaces.axes import AxisValue, Cell, put
from trainables.config.trial import Recipe

_log = logging.getLogger(__name__)
MOST_REPETITIONS = 100
"""Proposals in a row that bring nothing new before a search counts as exhausted."""


@dataclass(frozen=True)
class Origin:
    """What a search varies, how far its trials go, and the settings of the evaluation of the cell it starts from."""

    recipe: Recipe
    images: int
    evaluation: dict[str, AxisValue]


class Proposer:
    """Asks the samplers of a plan's searches."""

    def __init__(self, plan: Plan, reader: LedgerReader) -> None:
        self._plan, self._reader = plan, reader
        self._earlier: dict[int, list[Observation]] = {}

    def propose(self, rows: Sequence[EntryRow], stage: int) -> list[Entry]:
        """The entries of one arm more; none where the space holds nothing new. A repetition is thrown away."""
        known = {row.key for row in rows if row.stage == stage}
        start = self._start(rows, stage)
        observations = self._observations(rows, stage, start)
        for again in range(MOST_REPETITIONS):
            proposed = self._proposed(stage, start, observations, first=sum(row.stage == stage for row in rows), again=again)
            if not proposed:
                break
            if fresh := [entry for entry in proposed if entry.key not in known]:
                return fresh
        _log.warning("the search of stage %s ends: nothing new is proposed", stage)
        return []

    def _proposed(
        self, stage: int, start: Origin, observations: Sequence[Observation], *, first: int, again: int
    ) -> list[Entry]:
        """The entries of a proposal, at the positions from `first` on; none where nothing fits the search's limits."""
        from jit_sweep.search.proposals import NothingFits, propose  # starts Optuna

        spec, search = self._plan.spec, searches(self._plan.spec)[stage]
        try:
            values = propose(
                search,
                start.recipe,
                observations,
                objective=spec.objective,
                trial_of=lambda cell: self._entry(cell, start, stage, search).trial,
                images=start.images,
                again=again,
            )
        except NothingFits as error:
            _log.warning("%s", error)
            return []
        cell = put(start.recipe, values)
        return [self._entry(cell, start, stage, search, index=index, position=first + index) for index in range(search.seeds)]

    def _entry(self, cell: Cell, start: Origin, stage: int, search: SearchSpec, *, index: int = 0, position: int = 0) -> Entry:
        """One trial of an arm; `index` counts its seeds. ValueError: the cell makes none."""
        own = replace(cell, evaluation={**start.evaluation, **cell.evaluation})
        planner = Planner.of(self._plan)
        return planner.entry(own, stage=stage, position=position, seed=search.seed + index, images=start.images)

    def _start(self, rows: Sequence[EntryRow], stage: int) -> Origin:
        spec = self._plan.spec
        if searches(spec)[stage].start == "best_cell":
            earlier = [row for row in rows if row.stage < stage and row.origin == "grid"]
            best = best_cell(earlier, self._reader.scores(spec.name), objective=spec.objective)
            if best is not None:
                cell = put(self._plan.baseline, best.arm)
                return Origin(cell.recipe, best.images, cell.evaluation)
            _log.warning("no cell has all its scores without a collapsed seed: the search starts from the baseline")
        return Origin(self._plan.baseline, spec.budget.images_per_trial, {})

    def _observations(self, rows: Sequence[EntryRow], stage: int, start: Origin) -> list[Observation]:
        """What the sampler gets: the scored trials of the sweeps that `warm_start` names, then the stage's own proposals."""
        spec, search = self._plan.spec, searches(self._plan.spec)[stage]
        if stage not in self._earlier:
            self._earlier[stage] = self._of_earlier_sweeps(search, start)
        trials = with_scores([row for row in rows if row.stage == stage], self._reader.scores(spec.name))
        rungs = self._reader.rung_values(spec.name)
        return self._earlier[stage] + observations_of(trials, rungs, search, spec.objective, rung_metric=spec.rung_metric)

    def _of_earlier_sweeps(self, search: SearchSpec, start: Origin) -> list[Observation]:
        identity, images = self._plan.identity, start.images
        return [
            observation
            for sweep in search.warm_start
            for observation in warm_observations(
                self._reader, sweep, search, start=start.recipe, images=images, identity=identity
            )
        ]
