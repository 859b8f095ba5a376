"""What a search plans next: its sampler gets the outcomes of the trials before, and is asked for one arm more."""

import logging
from collections.abc import Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.results.arms import with_scores
from jit_sweep.results.choices import decided
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.search.alignment import Alignment, aligned
from jit_sweep.search.history import Observation, observations_of
from jit_sweep.search.origin import Origin, proposed_entry, start_of
from jit_sweep.search.warm_start import warm_observations
from jit_sweep.spec.stages import SearchSpec
from search_spaces.cells import put

_log = logging.getLogger(__name__)
MOST_REPETITIONS = 100
"""Proposals in a row that bring nothing new before a search counts as exhausted."""


class Proposer:
    """Asks the samplers of a plan's searches."""

    def __init__(self, plan: Plan, reader: LedgerReader) -> None:
        self._plan, self._reader, self._planner = plan, reader, Planner.of(plan)
        self._earlier: dict[int, list[Observation]] = {}

    def stage_id(self, stage: int) -> str:
        """What a stage is known by."""
        return self._planner.places[stage].id

    def align(self, rows: Sequence[EntryRow], stage: int) -> Alignment:
        """What must change for a search's former proposals to be those of the sweep file as it is now."""
        self._decide(rows)
        if stage in self._plan.waiting:
            return Alignment((), tuple(row.key for row in rows if row.stage == stage and row.origin == "search"))
        start = self._start(rows, stage)
        return aligned(self._reader.entries(self._plan.spec.name, every=True), self._planner, start, stage=stage)

    def propose(self, rows: Sequence[EntryRow], stage: int) -> list[Entry]:
        """The entries of one arm more; none where the space holds nothing new, or none of the arms that it may build on is
        sound. A repetition is thrown away."""
        self._decide(rows)
        if stage in self._plan.waiting:
            return []
        own = [row for row in rows if row.stage == stage]
        known, first = {row.key for row in own}, max((row.position for row in own), default=-1) + 1
        start = self._start(rows, stage)
        observations = self._observations(own, stage, start)
        for again in range(MOST_REPETITIONS):
            proposed = self._proposed(stage, start, observations, first=first, again=again)
            if not proposed:
                break
            if fresh := [entry for entry in proposed if entry.key not in known]:
                return fresh
        _log.warning("the search of stage %s ends: nothing new is proposed", stage)
        return []

    def _decide(self, rows: Sequence[EntryRow]) -> None:
        """Take up what is known by now of the arms that searches build on."""
        if self._plan.waiting:
            name = self._plan.spec.name
            marks = marks_of(self._reader.heldout(name))
            self._plan = decided(self._plan, rows, self._reader.scores(name), marks=marks)
            self._planner = Planner.of(self._plan)

    def _proposed(
        self, stage: int, start: Origin, observations: Sequence[Observation], *, first: int, again: int
    ) -> list[Entry]:
        """The entries of a proposal, at the positions from `first` on; none where nothing fits the search's limits."""
        from jit_sweep.search.proposals import NothingFits, propose  # starts Optuna

        search = searches(self._plan.spec)[stage]
        try:
            values = propose(
                search,
                start.recipe,
                observations,
                objective=self._plan.spec.objective,
                trial_of=lambda cell: proposed_entry(self._planner, start, cell, stage=stage, seed=search.seed).trial,
                images=start.images,
                again=again,
            )
        except NothingFits as error:
            _log.warning("%s", error)
            return []
        cell = put(start.recipe, values)
        return [
            proposed_entry(self._planner, start, cell, stage=stage, seed=search.seed + index, position=first + index)
            for index in range(search.seeds)
        ]

    def _start(self, rows: Sequence[EntryRow], stage: int) -> Origin:
        name = self._plan.spec.name
        marks = marks_of(self._reader.heldout(name))
        return start_of(self._planner, rows, self._reader.scores(name), stage=stage, marks=marks)

    def _observations(self, own: Sequence[EntryRow], stage: int, start: Origin) -> list[Observation]:
        """What the sampler gets: the scored trials of the sweeps that `warm_start` names, then the stage's own proposals."""
        spec, search = self._plan.spec, searches(self._plan.spec)[stage]
        if stage not in self._earlier:
            self._earlier[stage] = self._of_earlier_sweeps(search, start)
        trials = with_scores(own, self._reader.scores(spec.name))
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
