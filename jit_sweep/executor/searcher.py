"""Tune's side of the schedule: hands out the sweep's trials, a lane's worth at a time."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
from ray.tune.search import Searcher

from jit_sweep.arms import with_scores
from jit_sweep.executor.schedule import Over, Propose, Start, Work, next_step
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.plan import Entry, Plan, entry_of, proposals, searches
from jit_sweep.results import best_cell
from search_spaces.axes import AxisValue, put
from trainables.config import Recipe

if TYPE_CHECKING:
    from jit_sweep.search import Told

_log = logging.getLogger(__name__)
BUSY_S = 5.0
"""How long to leave a trial alone that another sweep is training."""
MOST_REPETITIONS = 100
"""Proposals in a row that bring nothing new before a search counts as exhausted."""


@dataclass(frozen=True)
class _Start:
    """What a search varies, how far its trials go, and the settings of the evaluation of the cell it starts from."""

    recipe: Recipe
    images: int
    evaluation: dict[str, AxisValue]


class LedgerSearcher(Searcher):
    """Every suggestion is read from the ledger, so that a sweep started again goes on where it was."""

    def __init__(
        self,
        plan: Plan,
        reader: LedgerReader,
        actor: Any,
        *,
        lanes: int,
        lane_config: dict[str, Any],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__(metric="images", mode="max")
        self._plan, self._reader, self._actor = plan, reader, actor
        self._lanes, self._lane_config, self._stopping = lanes, lane_config, stopping
        self._in_flight: dict[str, Work] = {}
        self._busy: dict[Work, float] = {}
        self._proposals = proposals(plan)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A lane's next work; None where it must wait; FINISHED at the end."""
        if self._stopping():
            return Searcher.FINISHED
        if len(self._in_flight) >= self._lanes:
            return None
        rows = self._reader.entries(self._plan.spec.name)
        step = next_step(
            rows,
            stages=len(self._plan.spec.stages),
            proposals=self._proposals,
            in_flight={*self._in_flight.values(), *self._still_busy()},
        )
        if isinstance(step, Propose):
            self._propose(rows, step.stage)
            return self.suggest(trial_id)
        if isinstance(step, Start):
            self._in_flight[trial_id] = step.work
            return {**self._lane_config, "trial": step.work.trial_id, "images": step.work.images}
        return Searcher.FINISHED if isinstance(step, Over) else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Free the trial's place; one whose lanes died too often is given up."""
        work = self._in_flight.pop(trial_id, None)
        if work is None:
            return
        if error:
            ray.get(self._actor.give_up.remote(work.trial_id))
        if result and result.get("outcome") == "busy":
            self._busy[work] = time.monotonic() + BUSY_S

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts so as to restore them; nothing is ever restored but from the ledger."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger has it."""

    def _still_busy(self) -> list[Work]:
        """Trials that another sweep is training: its score will serve here too, so ask again later."""
        over = [work for work, until in self._busy.items() if time.monotonic() >= until]
        if over:
            ray.get(self._actor.settle.remote())
        for work in over:
            del self._busy[work]
        return list(self._busy)

    def _propose(self, rows: Sequence[EntryRow], stage: int) -> None:
        """Add one more trial to a search. A repetition, or what is no valid trial, is thrown away; a space that yields nothing
        new has been searched."""
        before = [row for row in rows if row.stage == stage]
        known = {row.key for row in before}
        for again in range(MOST_REPETITIONS):
            try:
                entry = self._proposed(rows, before, stage=stage, again=again)
            except ValueError as error:
                _log.info("a proposal that is no valid trial is thrown away: %s", error)
                continue
            if entry.key not in known:
                ray.get(self._actor.add_entries.remote([entry]))
                return
        _log.warning("the search of stage %s ends after %s trials: nothing new is proposed", stage, len(before))
        self._proposals[stage] = len(before)

    def _proposed(self, rows: Sequence[EntryRow], before: Sequence[EntryRow], *, stage: int, again: int) -> Entry:
        from jit_sweep.search import propose  # starts Optuna

        spec, search = self._plan.spec, searches(self._plan.spec)[stage]
        start = self._start(rows, stage)
        told = self._told(before, axes=search.axes)
        values = propose(search, start.recipe, told, objective=spec.objective, again=again)
        cell = put(start.recipe, values)
        cell = replace(cell, evaluation={**start.evaluation, **cell.evaluation})
        return entry_of(
            spec,
            self._plan.data,
            cell,
            stage=stage,
            position=len(before),
            seed=search.seed,
            images=start.images,
            origin="search",
        )

    def _start(self, rows: Sequence[EntryRow], stage: int) -> _Start:
        spec = self._plan.spec
        if searches(spec)[stage].start == "best_cell":
            earlier = [row for row in rows if row.stage < stage and row.origin == "grid"]
            best = best_cell(earlier, self._reader.scores(spec.name), objective=spec.objective)
            if best is not None:
                cell = put(self._plan.baseline, best.arm)
                return _Start(cell.recipe, best.images, cell.evaluation)
            _log.warning("no cell has all its scores: the search starts from the baseline")
        return _Start(self._plan.baseline, spec.budget.images_per_trial, {})

    def _told(self, before: Sequence[EntryRow], *, axes: Collection[str]) -> "list[Told]":
        from jit_sweep.search import Told  # starts Optuna

        spec = self._plan.spec
        return [
            Told(
                values=trial.entry.arm,
                score=trial.value(spec.objective),
                running=trial.entry.state in (EntryState.WAITING, EntryState.RUNNING),
            )
            for trial in with_scores(before, self._reader.scores(spec.name))
            if trial.entry.arm.keys() <= set(axes)
        ]
