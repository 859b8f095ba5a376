"""Tune's side of the schedule: hands out the sweep's trials, a lane's worth at a time."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.dead_lanes import DeadLanes
from jit_sweep.executor.lane_config import LaneConfig, LaneTask
from jit_sweep.executor.schedule import Now, Over, Propose, Searched, Spent, Start, Step, Target, next_step
from jit_sweep.ledger.connect import DatabaseAway, is_away
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.search import proposals
from jit_sweep.search.proposer import Proposer

_log = logging.getLogger(__name__)
BUSY_S = 5.0
"""How long to leave a trial alone that another sweep is training."""


class WarmLanesFirst(FIFOScheduler):
    """No trial is preferred, so that a lane that has ended its trial gets the next one.

    The first that waits would be preferred otherwise, and the lane that comes up for it thrown away: with trials shorter than
    that takes there would never be a second lane.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: those that wait get what there is, in their order."""


class LedgerSearcher(Searcher):
    """Every suggestion is read from the ledger, so that a sweep started again goes on where it was."""

    def __init__(
        self,
        plan: Plan,
        reader: LedgerReader,
        actor: Any,
        *,
        lanes: Callable[[], int],
        lane_config: LaneConfig,
        guard: BudgetGuard,
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__(metric="images", mode="max")
        self._plan, self._reader, self._actor = plan, reader, actor
        self._lanes, self._lane_config, self._stopping = lanes, lane_config, stopping
        self._proposer, self._guard = Proposer(plan, reader), guard
        self._in_flight: dict[str, Start] = {}
        self._busy: dict[Target, float] = {}
        self._proposals = proposals(plan)
        self._searched: set[int] = set()
        self._shape = ""
        self._entries = LiveEntries(reader, plan.spec.name)
        self._dead_lanes = DeadLanes()
        self.refused = ""
        """Why the budget ended before the sweep did; empty where it has not."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A lane's next work; None where it must wait, be it for the ledger; FINISHED at the end."""
        try:
            return self._suggestion(trial_id)
        except DatabaseAway as error:
            if not is_away(error):
                raise
            _log.warning("the ledger cannot be read, trying again: %s", error)
            return None

    def _suggestion(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._stopping():
            return Searcher.FINISHED
        if len(self._in_flight) >= self._lanes():
            return None
        while True:
            match self._next():
                case Propose(stage):
                    self._propose(stage)
                case Searched(stage):
                    ray.get(self._actor.searched.remote(stage))
                    self._searched.add(stage)
                case Spent() as spent:
                    self._end_budget(spent)
                case Start() as step:
                    return self._start(trial_id, step)
                case Over():
                    return Searcher.FINISHED
                case _:
                    return None

    def _next(self) -> Step:
        rows = self._entries.rows()
        return next_step(rows, stages=len(self._plan.spec.stages), proposals=self._proposals, now=self._now(rows))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Free the trial's place. A trial whose lane died is handed out again by its cause's rule."""
        start = self._in_flight.pop(trial_id, None)
        if start is None:
            return
        self._shape = start.row.shape
        if error:
            ray.get(self._actor.give_up.remote(start.target.trial_id))
            self._count_dead_lane(start.target.trial_id)
        if result and result.get("outcome") == "busy":
            self._busy[start.target] = time.monotonic() + BUSY_S

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts so as to restore them; nothing is ever restored but from the ledger."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger has it."""

    def _start(self, trial_id: str, step: Start) -> dict[str, Any]:
        self._in_flight[trial_id] = step
        return LaneTask(lane=self._lane_config, trial=step.target.trial_id, images=step.target.images).as_tune()

    def _end_budget(self, spent: Spent) -> None:
        """What waits for these trials is judged without them, and a search proposes no more."""
        self.refused, self._proposals[spent.stage] = spent.why, 0
        _log.warning("the budget ends before %d trials of stage %d: %s", len(spent.keys), spent.stage, spent.why)
        ray.get(self._actor.end_budget.remote(list(spent.keys), spent.why))

    def _now(self, rows: Sequence[EntryRow]) -> Now:
        flying = [start.target for start in self._in_flight.values()]
        return Now(
            at=time.time(),
            in_flight={*flying, *self._still_busy()},
            alone=any(start.row.alone for start in self._in_flight.values()),
            shape=self._shape,
            searched=self._searched,
            refusal=self._guard.refusals(rows, handed_out=[start.row for start in self._in_flight.values()]),
        )

    def _still_busy(self) -> list[Target]:
        """Trials that another sweep is training: its score will serve here too, so ask again later."""
        over = [target for target, until in self._busy.items() if time.monotonic() >= until]
        if over:
            ray.get(self._actor.settle.remote())
        for target in over:
            del self._busy[target]
        return list(self._busy)

    def _propose(self, stage: int) -> None:
        """Plan one arm more of a search; a space that yields nothing new has been searched."""
        entries = self._proposer.propose(self._entries.rows(), stage)
        if entries:
            ray.get(self._actor.add_entries.remote(entries))
        else:
            self._proposals[stage] = 0

    def _count_dead_lane(self, trial_id: str) -> None:
        """Stop a sweep whose lanes cannot live, such as one whose code does not start on the cluster."""
        attempts = [row.attempt for row in self._entries.rows() if row.attempt is not None]
        cause = next((attempt.cause for attempt in attempts if attempt.trial_id == trial_id), None)
        if why := self._dead_lanes.count(cause, images=sum(attempt.images for attempt in attempts)):
            ray.get(self._actor.stop.remote(failure=why))
