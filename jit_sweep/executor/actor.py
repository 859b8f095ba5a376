"""The sweep's actor: the one writer of its ledger, and the mailboxes of its lanes.

It is made by the driver, in a fixed namespace, so that no trial's placement group captures it. Nothing that matters lives
only here: what it is told goes into the ledger before it answers, and Ray may kill and start it again at any time. Every
method may be called again with the same arguments and does nothing more.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from pydantic import TypeAdapter

from jit_sweep.errors import UserError
from jit_sweep.executor.assignment import TrialSettings, assignment_of
from jit_sweep.executor.mailbox import Mailbox, WorkerAddress, WorkItem
from jit_sweep.ledger.attempts import LaneAddress
from jit_sweep.ledger.connect import DatabaseAway, is_away, open_engine
from jit_sweep.ledger.lease import TTL_S, Lease, LeaseLost
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, Cause, Owner, SweepState
from jit_sweep.ledger.writer import LedgerWriter, StaleAttempt, TrialBusy
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import Decider
from trainables.report import Ended, Report

_log = logging.getLogger(__name__)
_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
T = TypeVar("T")
LONG_POLL_S = 20.0
TICK_S = 1.0
RENEW_EVERY = 5
"""Ticks from one renewal of the lease to the next."""
SILENT_S = 45.0
"""A worker that has not been heard of for this long is given up."""
AWAY_S = 1.0
"""How long to leave a database alone that cannot be reached."""


class SweepActor:
    """Methods for the driver, for a lane's owner and for its workers."""

    def __init__(
        self,
        ledger: str,
        *,
        sweep: str,
        epoch: int,
        owner: Owner,
        settings: TrialSettings,
        decider: Decider,
        silent_s: float = SILENT_S,
    ) -> None:
        engine = _opened(ledger)
        self._sweep, self._settings, self._silent_s = sweep, settings, silent_s
        self._lease = Lease(engine=engine, sweep=sweep, epoch=epoch, owner=owner, ttl_s=TTL_S, clock=time.time)
        self._writer, self._reader = LedgerWriter(engine, self._lease, decider=decider), LedgerReader(engine)
        self._stop = False
        self._failure = ""
        self._changed, self._one_at_a_time = asyncio.Condition(), asyncio.Lock()
        self._mailboxes = self._found_open()
        self._ticking = asyncio.ensure_future(self._tick())

    def _found_open(self) -> dict[str, Mailbox]:
        """The lanes that were at work when this actor died."""
        mailboxes: dict[str, Mailbox] = {}
        for attempt in self._reader.open_attempts(self._sweep):
            mailboxes[attempt.lane] = Mailbox()
            mailboxes[attempt.lane].put(self._work(attempt))
            mailboxes[attempt.lane].hear(0, now=time.monotonic())  # or miss it, if it has died meanwhile
        return mailboxes

    async def _tick(self) -> None:
        """Once a second: keep the lease, hear of a stop that was asked for, and miss the workers that have fallen silent."""
        for count in range(10**12):
            await asyncio.sleep(TICK_S)
            try:
                if count % RENEW_EVERY == 0:
                    await asyncio.to_thread(self._lease.renew)
                if not self._stop and (by := await asyncio.to_thread(self._reader.stop_asked_by, self._sweep)):
                    _log.info("%s asked this sweep to stop", by)
                    self._stop = True
            except LeaseLost as error:
                self._lost_lease(error)
                return
            except DatabaseAway as error:
                _log.warning("the lease could not be renewed, trying again: %s", error)
            await self._miss_the_silent()

    async def _miss_the_silent(self) -> None:
        for lane, mailbox in list(self._mailboxes.items()):  # others come while one is being closed
            if mailbox.open and (silence := mailbox.silence(time.monotonic())) > self._silent_s:
                await self._lose(lane, f"no sign of life for {silence:.0f} s", Cause.WORKER_LOST)

    # --- the driver

    async def add_entries(self, entries: list[Entry]) -> None:
        await self._patiently(lambda: self._writer.add_entries(self._sweep, entries))

    async def searched(self, stage: int) -> None:
        """A search has proposed all that it will."""
        await self._patiently(lambda: self._writer.searched(self._sweep, stage))

    async def stop(self, failure: str = "") -> None:
        """Ask every trial to save and pause. `failure`: why the run counts as failed."""
        self._stop, self._failure = True, failure or self._failure

    async def standing(self) -> tuple[bool, str]:
        """Whether it is stopping, and why by itself; empty where it is not by itself."""
        return self._stop, self._failure

    async def give_up(self, trial: str) -> None:
        """A trial's lane died, and its owner with it."""
        for lane, mailbox in list(self._mailboxes.items()):
            if mailbox.trial == trial and mailbox.open:
                lost = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
                on_lost = any(place.node in lost for place in mailbox.places.values())
                await self._lose(lane, "its lane's owner died", Cause.NODE_LOST if on_lost else Cause.WORKER_LOST)

    async def settle(self) -> None:
        """Take over what other sweeps have scored meanwhile."""
        await self._patiently(lambda: self._writer.settle(self._sweep))

    async def finish(self, state: str, reason: str = "") -> None:
        """Record how the run ended, and let the next one begin."""
        self._ticking.cancel()
        await self._patiently(lambda: self._writer.finish(self._sweep, SweepState(state), reason=reason))
        self._lease.release()

    # --- a lane's owner

    async def offer(self, lane: str, *, trial: str, images: int, host: str, pid: int) -> dict[str, Any]:
        """Put a trial into a lane's mailbox: `key` of the work, or the `outcome` where there is nothing to do."""
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        async with mailbox.offering:
            return await self._offered(mailbox, trial=trial, images=images, place=LaneAddress(lane=lane, host=host, pid=pid))

    async def _offered(self, mailbox: Mailbox, *, trial: str, images: int, place: LaneAddress) -> dict[str, Any]:
        if mailbox.open and mailbox.work is not None and (mailbox.trial, mailbox.work.images) == (trial, images):
            return {"key": mailbox.work.key}
        if self._stop:
            return _nothing("stopping")
        try:
            attempt = await self._patiently(lambda: self._writer.begin(self._sweep, trial, images, **place._asdict()))
        except TrialBusy:
            return _nothing("busy")
        if attempt is None:
            return _nothing("known")
        mailbox.put(await self._patiently(lambda: self._work(attempt)))
        await self._tell()
        assert mailbox.work is not None
        return {"key": mailbox.work.key}

    async def outcome(self, lane: str, *, key: str) -> dict[str, Any] | None:
        """What became of a piece of work; None: not over yet, ask again."""
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        await self._until(lambda: not (mailbox.open and mailbox.key == key))
        if mailbox.open and mailbox.key == key:
            return None
        return mailbox.outcome if mailbox.key == key else {"outcome": "replaced", "images": 0}

    async def lost(self, lane: str, *, detail: str, cause: str) -> None:
        """A lane's workers died."""
        if lane in self._mailboxes and self._mailboxes[lane].open:
            await self._lose(lane, detail, Cause(cause))

    async def dismiss(self, lane: str) -> None:
        """Send a lane's workers home."""
        self._mailboxes.setdefault(lane, Mailbox()).dismissed = True
        await self._tell()

    # --- a lane's workers

    async def take(self, lane: str, *, place: dict[str, Any], after: str) -> dict[str, Any] | None:
        """The work after the one named; {}: none yet, ask again; None: go home."""
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        mailbox.arrive(WorkerAddress(**place), now=time.monotonic())
        await self._until(lambda: mailbox.dismissed or (mailbox.open and mailbox.key != after))
        if mailbox.open and mailbox.key != after and mailbox.work is not None:
            return {"key": mailbox.key, "assignment": mailbox.work.assignment, "attempt": mailbox.work.attempt}
        return None if mailbox.dismissed else {}

    async def report(self, lane: str, *, trial: str, attempt: int, sequence: int, report: str) -> dict[str, str]:
        """Write a report into the ledger: the `decision`, as JSON; or why nothing of this attempt is wanted, in `fenced`."""
        read = _REPORT.validate_json(report)
        try:
            decision = await self._patiently(lambda: self._writer.report(trial, attempt, sequence, read))
        except (StaleAttempt, LeaseLost) as error:
            await self._close(lane, trial, attempt, {"outcome": "fenced", "images": 0})
            return {"fenced": str(error), "decision": ""}
        if isinstance(read, Ended):
            await self._close(lane, trial, attempt, {"outcome": read.outcome, "images": read.images})
        return {"fenced": "", "decision": decision.model_dump_json()}

    async def failed(self, lane: str, *, trial: str, attempt: int, cause: str, detail: str) -> None:
        """A trial raised. Its lane lives, but for one that ran out of memory."""
        over = cause == Cause.OUT_OF_MEMORY
        await self._fail(trial, attempt, Cause(cause), detail)
        await self._close(lane, trial, attempt, {"outcome": "failed", "cause": cause, "images": 0, "lane_over": over})

    async def stalled(self, lane: str, *, trial: str, attempt: int, detail: str) -> None:
        """A lane's worker made no step for too long, and ends itself."""
        await self._fail(trial, attempt, Cause.STALLED, detail)
        await self._close(lane, trial, attempt, self._over(lane, Cause.STALLED))

    async def beat(self, lane: str, *, place: dict[str, Any]) -> bool:
        """Whether to stop."""
        self._mailboxes.setdefault(lane, Mailbox()).arrive(WorkerAddress(**place), now=time.monotonic())
        return self._stop

    # --- inside

    def _work(self, attempt: AttemptRow) -> WorkItem:
        """What a lane is given for an attempt."""
        entries = self._reader.entries(self._sweep, trials=[attempt.trial_id])
        rows = [row for row in entries if row.serves(attempt)]
        most = self._reader.most_micro_batch(attempt.trial_id)
        finished = self._reader.finished_images(attempt.trial_id, most=attempt.target_images)
        assignment = assignment_of(rows, self._settings, most_micro_batch=most, finished_images=finished)
        return WorkItem(attempt.trial_id, attempt.number, attempt.target_images, assignment.model_dump_json())

    async def _lose(self, lane: str, detail: str, cause: Cause) -> None:
        """Close what is still open of a lane: whoever had it is gone."""
        work = self._mailboxes[lane].work
        assert work is not None
        await self._fail(work.trial, work.attempt, cause, detail)
        await self._close(lane, work.trial, work.attempt, self._over(lane, cause))

    def _over(self, lane: str, cause: Cause) -> dict[str, Any]:
        """The outcome of work whose lane must end with it."""
        pids = [(place.host, place.pid) for place in self._mailboxes[lane].places.values()] if lane in self._mailboxes else []
        return {"outcome": "failed", "cause": str(cause), "images": 0, "lane_over": True, "pids": pids}

    async def _fail(self, trial: str, attempt: int, cause: Cause, detail: str) -> None:
        try:
            failure = await self._patiently(lambda: self._writer.fail(trial, attempt, cause=cause, detail=detail))
        except (StaleAttempt, LeaseLost) as error:
            _log.warning("a failure is no longer wanted: %s", error)
            return
        if failure:
            _log.error("this run stops: %s", failure)
            self._stop, self._failure = True, failure

    async def _close(self, lane: str, trial: str, attempt: int, outcome: dict[str, Any]) -> None:
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        if mailbox.work is not None and (mailbox.trial, mailbox.work.attempt) == (trial, attempt):
            mailbox.close(outcome)
            await self._tell()

    def _lost_lease(self, error: LeaseLost) -> None:
        _log.error("%s; this run stops", error)
        self._stop, self._failure = True, str(error)

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Talk to the ledger from a thread, one call at a time. While its database is away, wait: whoever asked waits too."""
        while True:
            try:
                async with self._one_at_a_time:
                    return await asyncio.to_thread(call)
            except DatabaseAway as error:
                if not is_away(error):
                    raise
                _log.warning("the ledger cannot be reached, trying again: %s", error)
            except LeaseLost as error:
                self._lost_lease(error)
                raise
            await asyncio.sleep(AWAY_S)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, at most one long poll."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), LONG_POLL_S)
            except TimeoutError:
                return


def _opened(ledger: str) -> Any:
    """The ledger, once it can be reached. The driver has had it open; and an actor that fails to start is not started again."""
    while True:
        try:
            return open_engine(ledger)
        except UserError as error:
            _log.warning("waiting for the ledger: %s", error)
        time.sleep(AWAY_S)


def _nothing(why: str) -> dict[str, Any]:
    """An answer to `offer`; with `images`, which Tune's searcher asks of every result."""
    return {"outcome": {"outcome": why, "images": 0}}
