"""Hands out the sweep's trials, a lane's worth at a time: every answer is read from the ledger. Free of Ray."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.dead_lanes import DeadLanes
from jit_sweep.executor.schedule import (
    Align,
    LookAgain,
    Now,
    OutOfBudget,
    Over,
    Propose,
    Searched,
    Start,
    Step,
    Target,
    Wait,
    next_step,
)
from jit_sweep.ledger.connect import DatabaseAway, is_away
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause, EntryRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.search import proposals
from jit_sweep.results.choices import no_choice
from jit_sweep.results.further import further, growing
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.search.proposer import Proposer

_log = logging.getLogger(__name__)
BUSY_S = 5.0
"""How long to leave a trial alone that another sweep is training."""


class SweepOffice(Protocol):
    """The methods of the sweep's actor that handing out needs; each returns once it is done."""

    def add_entries(self, entries: Sequence[Entry], retired: Sequence[str] = ()) -> None: ...

    def searched(self, stage: str) -> None: ...

    def end_budget(self, keys: Sequence[str], why: str) -> None: ...

    def settle(self) -> None: ...

    def give_up(self, trial: str) -> Cause | None: ...

    def stop(self, failure: str = "") -> None: ...


class LedgerSearcher:
    """Every suggestion is read from the ledger, so that a sweep started again goes on where it was."""

    def __init__(
        self,
        plan: Plan,
        reader: LedgerReader,
        actor: SweepOffice,
        *,
        lanes: Callable[[], int],
        guard: BudgetGuard,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._reader, self._actor = plan, reader, actor
        self._lanes, self._stopping = lanes, stopping
        self._clock, self._monotonic = clock, monotonic
        self._proposer, self._guard = Proposer(plan, reader), guard
        self._in_flight: dict[str, Start] = {}
        self._busy: dict[Target, float] = {}
        self._proposals = proposals(plan)
        self._aligned: set[int] = set()
        self._searched: set[int] = set()
        self._growing = growing(plan)
        self._shape = ""
        self._entries = LiveEntries(reader, plan.spec.name)
        self._dead_lanes = DeadLanes()
        self.refused = ""
        """Why the budget ended before the sweep did; empty where it has not."""

    @property
    def unplanned(self) -> str:
        """Why a stage trains nothing, which builds on others that have ended; empty where there is none."""
        if not self._plan.waiting:
            return ""
        name = self._plan.spec.name
        marks = marks_of(self._reader.heldout(name))
        return no_choice(self._plan, self._entries.rows(), self._reader.scores(name), marks=marks)

    def suggest(self, trial_id: str) -> Target | Wait | Over:
        """The next work of a lane, which names it `trial_id`; or to wait, be it for the ledger; or the end."""
        try:
            return self._suggestion(trial_id)
        except DatabaseAway as error:
            if not is_away(error):
                raise
            _log.warning("the ledger cannot be read, trying again: %s", error)
            return Wait()

    def _suggestion(self, trial_id: str) -> Target | Wait | Over:
        if self._stopping():
            return Over()
        if len(self._in_flight) >= self._lanes():
            return Wait()
        while True:
            match self._next():
                case Align(stage):
                    self._align(stage)
                case Propose(stage):
                    self._propose(stage)
                case Searched(stage):
                    self._actor.searched(self._proposer.stage_id(stage))
                    self._searched.add(stage)
                case LookAgain(stage):
                    self._look_again(stage)
                case OutOfBudget() as spent:
                    self._end_budget(spent)
                case Start(target) as step:
                    self._in_flight[trial_id] = step
                    return target
                case Over() | Wait() as at_rest:
                    return at_rest

    def _next(self) -> Step:
        rows = self._entries.rows()
        return next_step(rows, stages=len(self._plan.spec.stages), proposals=self._proposals, now=self._now(rows))

    def completed(self, trial_id: str, *, outcome: str | None, error: bool) -> None:
        """Free the trial's place. A trial whose lane died is handed out again by its cause's rule.

        outcome: of the lane's task; None where it died.
        """
        start = self._in_flight.pop(trial_id, None)
        if start is None:
            return
        self._shape = start.row.shape
        if error:
            unbegun = self._actor.give_up(start.target.trial_id)
            self._count_dead_lane(start.target.trial_id, unbegun)
        if outcome == "busy":
            self._busy[start.target] = self._monotonic() + BUSY_S

    def _end_budget(self, spent: OutOfBudget) -> None:
        """What waits to be compared with these trials is judged without them."""
        self.refused = spent.why
        _log.warning("the budget ends before %d trials of stage %d: %s", len(spent.keys), spent.stage, spent.why)
        self._actor.end_budget(spent.keys, spent.why)

    def _now(self, rows: Sequence[EntryRow]) -> Now:
        flying = [start.target for start in self._in_flight.values()]
        return Now(
            at=self._clock(),
            in_flight={*flying, *self._still_busy()},
            alone=any(start.row.alone for start in self._in_flight.values()),
            shape=self._shape,
            aligned=self._aligned,
            searched=self._searched,
            growing=self._growing,
            evaluators=self._plan.spec.evaluator is not None,
            refusal=self._guard.refusals(rows, handed_out=[start.row for start in self._in_flight.values()]),
        )

    def _still_busy(self) -> list[Target]:
        """Trials that another sweep is training: its score will serve here too, so ask again later."""
        over = [target for target, until in self._busy.items() if self._monotonic() >= until]
        if over:
            self._actor.settle()
        for target in over:
            del self._busy[target]
        return list(self._busy)

    def _align(self, stage: int) -> None:
        """Plan what an earlier run has proposed as the file has it now; what it has no more is retired."""
        found = self._proposer.align(self._entries.rows(), stage)
        if found:
            self._actor.add_entries(found.planned, found.retired)
        self._aligned.add(stage)

    def _propose(self, stage: int) -> None:
        """Plan one arm more of a search; a space that yields nothing new has been searched."""
        entries = self._proposer.propose(self._entries.rows(), stage)
        if entries:
            self._actor.add_entries(entries)
        else:
            self._proposals[stage] = 0

    def _look_again(self, stage: int) -> None:
        """Plan what follows from the scores of a stage, such as one seed more for open questions; without it the stage has
        ended."""
        entries = further(self._plan, self._reader, stage=stage)
        if entries:
            self._actor.add_entries(entries)
        else:
            self._growing.discard(stage)

    def _count_dead_lane(self, trial_id: str, unbegun: Cause | None) -> None:
        """Stop a sweep whose lanes cannot live, such as one whose code does not start on the cluster.

        `unbegun`: why the lane died, where it had begun nothing."""
        attempts = [row.attempt for row in self._entries.rows() if row.attempt is not None]
        cause = unbegun or next((attempt.cause for attempt in attempts if attempt.trial_id == trial_id), None)
        if why := self._dead_lanes.count(cause, images=sum(attempt.images for attempt in attempts), begun=unbegun is None):
            self._actor.stop(failure=why)
