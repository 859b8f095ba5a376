"""The sweep's actor: the one writer of its ledger, and the letter box of its lanes.

It is made by the driver, in a fixed namespace, so that no trial's placement group captures it. Nothing that matters lives
only here: what it is told goes into the ledger before it answers.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from jit_sweep.executor.schedule import Work, work_of
from jit_sweep.ledger.connect import DatabaseAway, open_engine
from jit_sweep.ledger.lease import TTL_S, Lease, LeaseLost
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SETTLED, Cause, EntryRow, Owner, SweepState
from jit_sweep.ledger.writer import LedgerWriter, TrialBusy
from jit_sweep.plan import Entry
from trainables.assignment import Assignment
from trainables.report import Ended, Report

_log = logging.getLogger(__name__)
_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
LONG_POLL_S = 20.0
RENEW_S = 5.0


@dataclass(frozen=True)
class Source:
    """Where a sweep's trials find their images and keep their files."""

    data: str
    holdout: int | None
    storage: str
    checkpoint_interval_s: float
    memory_bytes: int | None
    micro_batch: int | None
    activation_checkpointing: bool | None


@dataclass
class _Lane:
    """A lane as the actor sees it: the work it has, and what became of it."""

    number: int = 0
    trial: str = ""
    attempt: int = 0
    assignment: str = ""
    open: bool = False
    outcome: dict[str, Any] | None = None
    """With `images`, which Tune's searcher asks of every result."""
    dismissed: bool = False


class SweepActor:
    """Methods for the driver, for a lane's owner and for its workers."""

    def __init__(self, ledger: str, *, sweep: str, epoch: int, owner: Owner, source: Source) -> None:
        engine = open_engine(ledger)
        self._sweep, self._source = sweep, source
        self._lease = Lease(engine=engine, sweep=sweep, epoch=epoch, owner=owner, ttl_s=TTL_S, clock=time.time)
        self._writer, self._reader = LedgerWriter(engine, self._lease), LedgerReader(engine)
        self._lanes: dict[str, _Lane] = {}
        self._stop = False
        self._changed = asyncio.Condition()
        self._renewal = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                self._lease.renew()
            except LeaseLost as error:
                _log.error("%s; this run stops", error)
                self._stop = True
                return
            except DatabaseAway as error:
                _log.warning("the lease could not be renewed, trying again: %s", error)

    # --- the driver

    async def add_entries(self, entries: list[Entry]) -> None:
        self._writer.add_entries(self._sweep, entries)

    async def stop(self) -> None:
        """Ask every trial to save and pause."""
        self._stop = True

    async def give_up(self, trial: str) -> None:
        """A trial whose lanes died too often."""
        self._lose(trial, "its lanes died too often")

    async def settle(self) -> None:
        """Take over what other sweeps have scored meanwhile."""
        self._writer.settle(self._sweep)

    async def finish(self, state: str) -> None:
        """Record how the run ended, and let the next one begin."""
        self._renewal.cancel()
        self._writer.finish(self._sweep, SweepState(state))
        self._lease.release()

    # --- a lane's owner

    async def offer(self, lane: str, *, trial: str, images: int, host: str, pid: int) -> int:
        """Put a trial into a lane's letter box; the number of the work."""
        box = self._lanes.setdefault(lane, _Lane())
        self._lose(trial, "its lane's owner died")
        box.number, box.trial = box.number + 1, trial
        if self._stop:
            return self._nothing_to_do(box, "stopping")
        try:
            attempt = self._writer.begin(self._sweep, trial, images, lane=lane, host=host, pid=pid)
        except TrialBusy:
            return self._nothing_to_do(box, "busy")
        if attempt is None:
            return self._nothing_to_do(box, "known")
        rows = [
            row for row in self._reader.entries(self._sweep) if work_of(row) == Work(trial, images) and row.state not in SETTLED
        ]
        box.attempt, box.assignment = attempt.number, self._assignment(rows).model_dump_json()
        box.open, box.outcome = True, None
        await self._tell()
        return box.number

    async def outcome(self, lane: str, *, number: int) -> dict[str, Any] | None:
        """What became of a piece of work; None: not over yet, ask again."""
        box = self._lanes[lane]
        await self._until(lambda: box.number == number and not box.open)
        return box.outcome

    async def lost(self, lane: str, *, detail: str) -> None:
        """A lane's workers died."""
        box = self._lanes.get(lane)
        if box is not None and box.open:
            self._lose(box.trial, detail)

    async def dismiss(self, lane: str) -> None:
        """Send a lane's workers home."""
        self._lanes.setdefault(lane, _Lane()).dismissed = True
        await self._tell()

    # --- a lane's workers

    async def take(self, lane: str, *, rank: int, after: int) -> dict[str, Any] | None:
        """The work after number `after`; {}: none yet, ask again; None: go home."""
        box = self._lanes.setdefault(lane, _Lane())
        await self._until(lambda: box.dismissed or (box.open and box.number > after))
        if box.open and box.number > after:
            return {"number": box.number, "assignment": box.assignment, "attempt": box.attempt}
        return None if box.dismissed else {}

    async def report(self, lane: str, *, trial: str, attempt: int, sequence: int, report: str) -> str:
        """Write a report into the ledger; the decision, as JSON."""
        read = _REPORT.validate_json(report)
        decision = self._writer.report(trial, attempt, sequence, read)
        if isinstance(read, Ended):
            await self._close(lane, trial, attempt, {"outcome": read.outcome, "images": read.images})
        return decision.model_dump_json()

    async def failed(self, lane: str, *, trial: str, attempt: int, cause: str, detail: str) -> None:
        """A trial raised; its lane lives."""
        self._writer.fail(trial, attempt, cause=Cause(cause), detail=detail)
        await self._close(lane, trial, attempt, {"outcome": "failed", "cause": cause, "images": 0})

    async def beat(self, lane: str, *, rank: int) -> bool:
        """Whether to stop."""
        return self._stop

    # --- inside

    def _nothing_to_do(self, box: _Lane, why: str) -> int:
        box.open, box.outcome = False, {"outcome": why, "images": 0}
        return box.number

    async def _close(self, lane: str, trial: str, attempt: int, outcome: dict[str, Any]) -> None:
        box = self._lanes[lane]
        if (box.trial, box.attempt) == (trial, attempt):
            box.open, box.outcome = False, outcome
            await self._tell()

    def _lose(self, trial: str, detail: str) -> None:
        """Close what is still open of a trial: whoever had it is gone."""
        for box in self._lanes.values():
            if box.trial == trial and box.open:
                box.open = False
                self._writer.fail(trial, box.attempt, cause=Cause.WORKER_LOST, detail=detail)

    def _assignment(self, rows: list[EntryRow]) -> Assignment:
        first = rows[0]
        return Assignment(
            trial=first.trial,
            images=first.images,
            evaluations=tuple({row.evaluation_id: row.evaluation for row in rows}.values()),
            rungs=first.rungs,
            data=self._source.data,
            holdout=self._source.holdout,
            storage=self._source.storage,
            checkpoint_interval_s=self._source.checkpoint_interval_s,
            memory_bytes=self._source.memory_bytes,
            micro_batch=self._source.micro_batch,
            activation_checkpointing=self._source.activation_checkpointing,
        )

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, condition: Any) -> None:
        """Wait for a condition, at most one long poll."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), LONG_POLL_S)
            except TimeoutError:
                return
