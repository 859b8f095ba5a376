"""The sweep's actor: the one writer of its ledger, and the mailboxes of its lanes.

It is made by the driver, in a fixed namespace, so that no trial's placement group captures it. A report is in the ledger
before its answer is given, so that Ray may kill and start the actor again at any time. Every method may be called again with
the same arguments and does nothing more.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple, TypeVar

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.assignment import TrialSettings, assignment_of
from jit_sweep.executor.long_polls import LongPolls
from jit_sweep.executor.mailbox import Mailbox
from jit_sweep.executor.patience import PatientCalls, opened
from jit_sweep.executor.purse import Purse
from jit_sweep.ledger.attempts import LaneAddress
from jit_sweep.ledger.clock import DatabaseClock, database_now
from jit_sweep.ledger.connect import DatabaseAway
from jit_sweep.ledger.failures import pause_s
from jit_sweep.ledger.lease import Lease, LeaseLost
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, Cause, Owner, SweepState, when
from jit_sweep.ledger.writer import LedgerWriter, StaleAttempt, TrialBusy
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.shape import SpeedShape
from trainables.lane.messages import (
    Answer,
    AttemptKey,
    FencedOff,
    GoHome,
    Letter,
    NotOver,
    NoWorkYet,
    Offer,
    TaskOutcome,
    TrialCause,
    WorkerAddress,
    WorkItem,
)
from trainables.report import Committed, Decision, Ended, Rung

_log = logging.getLogger(__name__)
T = TypeVar("T")
TICK_S = 1.0
RENEW_EVERY = 5
"""Ticks from one renewal of the lease to the next."""
SILENT_S = 45.0
"""A worker that has not been heard of for this long is given up."""
AWAITED_S = 30.0
"""A lane whose workers have not come by then is said to wait for a place: longer than they take to start."""


class StopState(NamedTuple):
    """Whether a run is ending before its trials are."""

    stopping: bool
    failure: str
    """Why it stops by itself; empty where it does not."""
    ledger_away: str = ""
    """Why the ledger cannot be reached or written now; empty where it can."""
    storage_away: str = ""
    """With what the storage last failed a trial; empty where one has committed since."""


class SweepActor:
    """Methods for the driver, for a lane's owner and for its workers; `trainables.lane.messages` has what the last two say."""

    def __init__(
        self,
        ledger: str,
        *,
        spec: SweepSpec,
        epoch: int,
        owner: Owner,
        settings: TrialSettings,
        probed: Mapping[SpeedShape, float] | None = None,
        lost_nodes: Callable[[], Collection[str]],
        silent_s: float = SILENT_S,
        awaited_s: float = AWAITED_S,
        clock: Callable[[], float] = time.time,
        database_clock: DatabaseClock = database_now,
    ) -> None:
        """`probed`: images a second by shape, for the budget; `lost_nodes`: ids of the cluster's nodes that are no more, asked
        where a lane died with its owner."""
        engine, sweep = opened(ledger), spec.name
        self._scored_elsewhere = spec.evaluator is not None
        self._sweep, self._settings, self._silent_s, self._awaited_s = sweep, settings, silent_s, awaited_s
        self._lease = Lease(engine=engine, sweep=sweep, epoch=epoch, owner=owner, clock=database_clock)
        self._writer = LedgerWriter(engine, self._lease, decider=Decider(spec.scheduler), clock=clock)
        self._reader, self._lost_nodes = LedgerReader(engine, clock=database_clock), lost_nodes
        guard = BudgetGuard(spec, self._reader, probed=probed, clock=clock)
        self._purse = Purse(guard, LiveEntries(self._reader, sweep))
        self._clock, self._stop = clock, False
        self._failure = self._storage_away = ""
        self._unbegun: defaultdict[str, list[Cause]] = defaultdict(list)
        """By trial: why the lanes died that had been given it, and had begun nothing; emptied as it begins."""
        self._polls, self._calls = LongPolls(), PatientCalls()
        self._mailboxes = self._known_lanes()
        self._ticking = asyncio.ensure_future(self._tick())

    def _known_lanes(self) -> dict[str, Mailbox]:
        """The lanes that had work before this actor died, with the last that each was given."""
        last = {attempt.lane: attempt for attempt in self._reader.attempts(self._sweep)}
        mailboxes = {lane: Mailbox(key=AttemptKey(each.trial_id, each.number)) for lane, each in last.items()}
        for attempt in self._reader.open_attempts(self._sweep):
            mailboxes[attempt.lane].put(self._work(attempt))
            mailboxes[attempt.lane].hear(0, now=_now())  # or miss it, if it has died meanwhile
        return mailboxes

    async def _tick(self) -> None:
        """Once a second: keep the lease, hear of a stop that was asked for, and miss the workers that have fallen silent."""
        is_ours = True
        for tick in count():
            await asyncio.sleep(TICK_S)
            if is_ours:
                try:
                    await self._look(renews=tick % RENEW_EVERY == 0)
                except LeaseLost as error:
                    self._lost_lease(error)
                    is_ours = False
            await self._miss_the_silent()  # of a run that was taken over too: else it waits for them for ever
            await self._tell_of_the_awaited()

    async def _look(self, *, renews: bool) -> None:
        """LeaseLost: nothing that this actor still says is recorded."""
        try:
            if renews:
                await asyncio.to_thread(self._lease.renew)
                self._calls.written()
            if not self._stop and (by := await asyncio.to_thread(self._reader.stop_asked_by, self._sweep)):
                _log.info("%s asked this sweep to stop", by)
                await self.stop()
        except DatabaseAway as error:
            self._calls.missed(error)

    async def _tell_of_the_awaited(self) -> None:
        """Record which trials wait for workers that have not come."""
        for mailbox in list(self._mailboxes.values()):
            offer, waited_s = mailbox.waiting, _now() - mailbox.offered_at
            if offer is not None and not mailbox.told and waited_s > self._awaited_s:
                mailbox.told = True
                since = when(self._clock() - waited_s)
                await self._note(
                    offer,
                    f"the workers of its lane are awaited since {since}: they need a place on the cluster, and then start",
                )

    async def _miss_the_silent(self) -> None:
        for lane, mailbox in list(self._mailboxes.items()):  # others come while one is being closed
            if mailbox.is_busy and (silence := mailbox.silence(_now())) > self._silent_s:
                await self._lose(lane, f"no sign of life for {silence:.0f} s", Cause.WORKER_LOST)

    # --- the driver

    async def add_entries(self, entries: Sequence[Entry], retired: Sequence[str] = ()) -> None:
        await self._patiently(lambda: self._writer.add_entries(self._sweep, entries, retired=retired))

    async def searched(self, stage: str) -> None:
        """A search has proposed all that it will."""
        await self._patiently(lambda: self._writer.searched(self._sweep, stage))

    async def end_budget(self, keys: list[str], why: str) -> None:
        """The budget does not hold these entries, and nothing that runs may free some of it."""
        await self._patiently(lambda: self._writer.end_budget(self._sweep, keys, why=why))

    async def stop(self, failure: str = "") -> None:
        """Ask every trial to save and pause. `failure`: why the run counts as failed."""
        self._stop, self._failure = True, failure or self._failure
        await self._polls.tell()

    async def stop_state(self) -> StopState:
        return StopState(self._stop, self._failure, ledger_away=self._calls.away, storage_away=self._storage_away)

    async def give_up(self, trial: str) -> Cause | None:
        """A trial's lane died, and its owner with it. Returns why, where it had begun nothing; None where it had."""
        for lane, mailbox in list(self._mailboxes.items()):
            given = (mailbox.open_key, mailbox.waiting)
            if any(each is not None and each.trial == trial for each in given):
                lost = self._lost_nodes() if mailbox.workers else ()
                on_lost = any(worker.node in lost for worker in mailbox.workers.values())
                await self._lose(lane, "its lane's owner died", Cause.NODE_LOST if on_lost else Cause.WORKER_LOST)
        return next(reversed(self._unbegun.get(trial, [])), None)

    async def settle(self) -> None:
        """Take over what other sweeps have scored meanwhile."""
        await self._patiently(lambda: self._writer.settle(self._sweep))

    async def finish(self, state: SweepState, reason: str = "", *, goes_on: bool = False) -> None:
        """Record how the run ended, and let the next one begin. `goes_on`: its process has more to do, and does both later."""
        self._ticking.cancel()
        if goes_on:
            return
        await self._patiently(lambda: self._writer.finish(self._sweep, state, reason=reason))
        self._lease.release()

    # --- a lane's owner

    async def offer(self, lane: str, *, offer: Offer) -> AttemptKey | TaskOutcome | NotOver:
        """Put a trial into a lane's mailbox, where it waits for the first of the lane's workers.

        Returns the attempt that this one opened, or the outcome where there is nothing to do; `NotOver` after one long poll.
        """
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        if not mailbox.has_opened(offer):
            mailbox.wait(offer, now=_now())
            await self._polls.tell()
            await self._polls.until(lambda: mailbox.waiting is None or self._stop)
        async with mailbox.opening:
            if mailbox.waiting is not None and self._stop:
                mailbox.refuse(TaskOutcome("stopping"))
        if mailbox.waiting is not None:
            return NotOver()
        if mailbox.refused is not None:
            return mailbox.refused
        assert mailbox.key is not None
        return mailbox.key

    async def outcome(self, lane: str, *, key: AttemptKey) -> TaskOutcome | NotOver:
        """What became of a piece of work, as soon as it is over; `NotOver` after one long poll."""
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        await self._polls.until(lambda: mailbox.open_key != key)
        if mailbox.open_key == key:
            return NotOver()
        return mailbox.outcome if mailbox.key == key and mailbox.outcome is not None else TaskOutcome("replaced")

    async def lost(self, lane: str, *, detail: str, cause: Cause) -> None:
        """A lane's workers died."""
        if lane in self._mailboxes and self._mailboxes[lane].is_busy:
            await self._lose(lane, detail, cause)

    async def dismiss(self, lane: str) -> None:
        """Send a lane's workers home."""
        self._mailboxes.setdefault(lane, Mailbox()).dismissed = True
        await self._polls.tell()

    # --- a lane's workers

    async def take(self, lane: str, *, address: WorkerAddress, after: AttemptKey | None) -> WorkItem | NoWorkYet | GoHome:
        """The work after the one named, as soon as there is some; `NoWorkYet` after one long poll."""
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        mailbox.arrive(address, now=_now())
        await self._polls.until(
            lambda: mailbox.dismissed or mailbox.waiting is not None or mailbox.open_key not in (None, after)
        )
        await self._open(lane, mailbox, address)
        if mailbox.work is not None and mailbox.open_key not in (None, after):
            return mailbox.work
        return GoHome() if mailbox.dismissed else NoWorkYet()

    async def report(self, lane: str, *, letter: Letter) -> Answer:
        """Write a report into the ledger, and answer it."""
        key, report = letter.key, letter.report
        try:
            decision = await self._patiently(lambda: self._told(letter))
        except (StaleAttempt, LeaseLost) as error:
            await self._close(lane, key, TaskOutcome("fenced"))
            return FencedOff(str(error))
        if isinstance(report, Committed):
            self._storage_away = ""
        if isinstance(report, Ended):
            await self._close(lane, key, TaskOutcome(report.outcome, images=report.images))
        return decision

    async def failed(self, lane: str, *, key: AttemptKey, cause: TrialCause, detail: str) -> None:
        """A trial raised. Its lane lives, but for one that ran out of memory."""
        await self._fail(key, Cause(cause), detail)
        await self._close(lane, key, TaskOutcome("failed", cause=cause, lane_over=cause == "out_of_memory"))

    async def stalled(self, lane: str, *, key: AttemptKey, detail: str) -> None:
        """A lane's worker made no step for too long, and ends itself."""
        await self._fail(key, Cause.STALLED, detail)
        await self._close(lane, key, self._over(lane, Cause.STALLED))

    async def beat(self, lane: str, *, address: WorkerAddress) -> bool:
        """Whether to stop."""
        self._mailboxes.setdefault(lane, Mailbox()).arrive(address, now=_now())
        return self._stop

    # --- inside

    def _told(self, letter: Letter) -> Decision:
        """Write a report; at a gate a trial goes on only where the budget holds what lies behind it."""
        (trial, attempt), report = letter.key, letter.report
        dear = self._purse.dear_behind(trial, report.images) if isinstance(report, Rung) else ""
        return self._writer.report(trial, attempt, letter.sequence, report, too_dear=dear)

    async def _open(self, lane: str, mailbox: Mailbox, worker: WorkerAddress) -> None:
        """Open the attempt at what a lane was offered, where that still waits: this worker is the first to ask."""
        async with mailbox.opening:
            offer = mailbox.waiting
            if offer is None or mailbox.dismissed or self._stop:
                return
            if await self._patiently(lambda: self._purse.is_too_dear(offer.trial, offer.images)):
                mailbox.refuse(TaskOutcome("too_dear"))
            else:
                await self._begin(mailbox, offer, LaneAddress(lane=lane, host=worker.host, pid=worker.pid))
        await self._polls.tell()

    async def _begin(self, mailbox: Mailbox, offer: Offer, address: LaneAddress) -> None:
        try:
            attempt = await self._patiently(
                lambda: self._writer.begin(self._sweep, offer.trial, offer.images, **address._asdict())
            )
            work = None if attempt is None else await self._patiently(lambda: self._work(attempt))
        except TrialBusy:
            mailbox.refuse(TaskOutcome("busy"))
        except LeaseLost:
            mailbox.refuse(TaskOutcome("stopping"))
        else:
            self._unbegun.pop(offer.trial, None)
            mailbox.put(work) if work is not None else mailbox.refuse(TaskOutcome("known"))

    def _work(self, attempt: AttemptRow) -> WorkItem:
        """What a lane is given for an attempt."""
        entries = self._reader.entries(self._sweep, trials=[attempt.trial_id])
        rows = [row for row in entries if row.serves(attempt)]
        most = self._reader.most_micro_batch(attempt.trial_id)
        finished = self._reader.finished_images(attempt.trial_id, most=attempt.target_images)
        is_trained = attempt.checkpoint_images == attempt.target_images
        scores = is_trained or not self._scored_elsewhere
        assignment = assignment_of(rows, self._settings, most_micro_batch=most, finished_images=finished, scores=scores)
        return WorkItem(AttemptKey(attempt.trial_id, attempt.number), assignment)

    async def _lose(self, lane: str, detail: str, cause: Cause) -> None:
        """Close what is still open of a lane, and take back what it has not begun: whoever had it is gone."""
        mailbox = self._mailboxes[lane]
        if (offer := mailbox.waiting) is not None:
            mailbox.refuse(self._over(lane, cause))
            before = self._unbegun[offer.trial]
            wait_s = pause_s(cause, before.count(cause))
            before.append(cause)
            await self._polls.tell()
            why = f"its last lane died before it began: {cause}: {detail.strip().splitlines()[-1]}"
            await self._note(offer, why, wait_s=wait_s)
        if (key := mailbox.open_key) is not None:
            await self._fail(key, cause, detail)
            await self._close(lane, key, self._over(lane, cause))

    async def _note(self, offer: Offer, why: str, *, wait_s: float = 0.0) -> None:
        """Record for what a trial waits that a lane was given."""
        with suppress(LeaseLost):
            await self._patiently(lambda: self._writer.waits(offer.trial, offer.images, why=why, wait_s=wait_s))

    def _over(self, lane: str, cause: Cause) -> TaskOutcome:
        """The outcome of work whose lane must end with it."""
        workers = tuple(self._mailboxes[lane].workers.values()) if lane in self._mailboxes else ()
        return TaskOutcome("failed", cause=cause, lane_over=True, workers=workers)

    async def _fail(self, key: AttemptKey, cause: Cause, detail: str) -> None:
        if cause is Cause.STORAGE_ERROR:
            self._storage_away = (detail.strip().splitlines() or [str(cause)])[-1]
        try:
            failure = await self._patiently(lambda: self._writer.fail(key.trial, key.attempt, cause=cause, detail=detail))
        except (StaleAttempt, LeaseLost) as error:
            _log.warning("a failure is no longer wanted: %s", error)
            return
        if failure:
            _log.error("this run stops: %s", failure)
            self._stop, self._failure = True, failure

    async def _close(self, lane: str, key: AttemptKey, outcome: TaskOutcome) -> None:
        mailbox = self._mailboxes.setdefault(lane, Mailbox())
        if mailbox.key == key:
            mailbox.close(outcome)
            await self._polls.tell()

    def _lost_lease(self, error: LeaseLost) -> None:
        _log.error("%s; this run stops", error)
        self._stop, self._failure = True, str(error)

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Talk to the ledger, as `PatientCalls` does; LeaseLost ends the run, too."""
        try:
            return await self._calls.answer(call)
        except LeaseLost as error:
            self._lost_lease(error)
            raise


def _now() -> float:
    """Of the event loop's own clock, by which it also waits; seconds, never set back."""
    return asyncio.get_running_loop().time()
