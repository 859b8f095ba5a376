"""Tune's side of the schedule: hands out the sweep's trials, a lane's worth at a time."""

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.tune.search import Searcher

from jit_sweep.executor.schedule import Over, Propose, Start, Work, next_step, work_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.plan import Entry, Plan, entry_of
from jit_sweep.results import best_cell
from search_spaces.axes import put
from search_spaces.presets import Recipe

_log = logging.getLogger(__name__)
BUSY_S = 5.0


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

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A lane's next work; None where it must wait; FINISHED at the end."""
        if self._stopping():
            return Searcher.FINISHED
        if len(self._in_flight) >= self._lanes:
            return None
        rows = self._reader.entries(self._plan.spec.name)
        step = next_step(rows, stages=self._plan.spec.stages, in_flight={*self._in_flight.values(), *self._still_busy()})
        if isinstance(step, Propose):
            ray.get(self._actor.add_entries.remote([self._proposed(rows, step.stage)]))
            return self.suggest(trial_id)
        if isinstance(step, Start):
            self._in_flight[trial_id] = step.work
            return {**self._lane_config, "trial": step.work.trial_id, "images": step.work.images}
        return Searcher.FINISHED if isinstance(step, Over) else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
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

    def _proposed(self, rows: list[EntryRow], stage: int) -> Entry:
        from jit_sweep.search import propose  # starts Optuna

        spec = self._plan.spec
        search = spec.stages[stage].search  # type: ignore[union-attr]
        start, images = self._start(rows, stage)
        proposals = [row for row in rows if row.stage == stage]
        values = propose(search, start, self._told(proposals), objective=spec.objective)
        return entry_of(
            spec,
            self._plan.data,
            put(start, values),
            stage=stage,
            position=len(proposals),
            seed=search.seed,
            images=images,
            origin="search",
        )

    def _start(self, rows: list[EntryRow], stage: int) -> tuple[Recipe, int]:
        """What a search varies, and how far its trials go."""
        spec = self._plan.spec
        if spec.stages[stage].search.start == "best_cell":  # type: ignore[union-attr]
            earlier = [row for row in rows if row.stage < stage and row.origin == "grid"]
            best = best_cell(earlier, self._reader.scores(spec.name), objective=spec.objective)
            if best is not None:
                return put(self._plan.baseline, best.arm).recipe, best.images
            _log.warning("no cell has a score: the search starts from the baseline")
        return self._plan.baseline, spec.budget.images_per_trial

    def _told(self, proposals: list[EntryRow]) -> list[Any]:
        from jit_sweep.search import Told

        objective = self._plan.spec.objective
        scores = {
            (score.trial_id, score.images, score.evaluation_id): score for score in self._reader.scores(self._plan.spec.name)
        }
        told = []
        for row in proposals:
            score = scores.get((row.trial_id, row.images, row.evaluation_id))
            ended = row.state in (EntryState.DONE, EntryState.DIVERGED, EntryState.FAILED)
            value = score.values.get(objective) if score else None
            told.append(Told(values=row.arm, score=value, running=not ended and work_of(row) in self._in_flight.values()))
        return told
