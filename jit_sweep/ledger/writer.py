"""All that is ever written about a sweep, one transaction a call, by the holder of its lease."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from jit_sweep.ledger import attempts, entries, events, reports, schema, verdicts
from jit_sweep.ledger.attempts import LaneAddress
from jit_sweep.ledger.connect import writing
from jit_sweep.ledger.event_records import (
    AllProposed,
    Asked,
    Begun,
    BudgetEnded,
    EntriesAdded,
    Failed,
    Finished,
    Registered,
    Reopened,
    Rescheduled,
    Waits,
)
from jit_sweep.ledger.failures import EQUAL_BUGS
from jit_sweep.ledger.lease import Lease, is_run, lock
from jit_sweep.ledger.records import SETTLED, AttemptRow, Cause, EntryState, SweepState
from jit_sweep.ledger.refusals import OtherSweep, refused_changes
from jit_sweep.ledger.verdicts import Judge
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.places import Place
from jit_sweep.redact import redact
from jit_sweep.schedulers.decide import NEVER_STOP, Decider
from trainables.report import Decision, Report

log = logging.getLogger(__name__)


class StaleAttempt(RuntimeError):
    """The attempt has ended or was replaced: what it still says is not recorded."""


class TrialBusy(RuntimeError):
    """Another sweep is training this very trial now; its score will serve this sweep too."""


class LedgerWriter:
    """Writes about one sweep. Every method raises LeaseLost, and changes nothing, once another process took the sweep over.

    When things happened it says by `clock`, the run's own machine's; leases alone go by the database's.
    """

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        *,
        decider: Decider = NEVER_STOP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._judge = Judge(decider)
        self._clock = clock

    def register(self, name: str, *, fingerprint: str, identity: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """Enter a sweep, or take it up again. OtherSweep: the name belongs to one of another identity."""
        now = self._clock()
        with self._transaction(name) as connection:
            row = connection.execute(select(schema.sweep).where(schema.sweep.c.name == name)).one_or_none()
            if row is not None:
                if row.fingerprint != fingerprint:
                    raise OtherSweep(name, refused_changes(row.spec, spec, old_facts=row.facts, new_facts=identity))
                if row.searched:  # searches may propose more
                    events.append(connection, Registered(fingerprint=fingerprint), sweep=name, at=now)
                if row.spec.get("scheduler") != spec.get("scheduler"):
                    self._forget(connection, name, spec)
                _set_sweep(connection, name, spec=spec, **_running(now))
                return
            fixed = {"name": name, "fingerprint": fingerprint, "facts": identity, "created_at": now}
            connection.execute(insert(schema.sweep).values(**fixed, spec=spec, **_running(now)))
            events.append(connection, Registered(fingerprint=fingerprint), sweep=name, at=now)

    def ask(self, sweep: str, asked: Asked) -> None:
        """Record what the sweep's verdicts are to answer, where that is not what was recorded last."""
        with self._transaction(sweep) as connection:
            if events.last_asked(connection, sweep) != asked:
                events.append(connection, asked, sweep=sweep, at=self._clock())

    def plan_entries(self, sweep: str, plan: Sequence[Entry], *, places: Sequence[Place] | None = None) -> None:
        """Make this all that the sweep's grids plan: other grid entries are hidden, and only their scores stay.

        `places`: the stages of the file. What searches proposed that are not among them is hidden too; None leaves all of it.
        The rest is as `add_entries` has it.
        """
        with self._transaction(sweep) as connection:
            if entries.gates_differ(connection, sweep, plan):
                spec = connection.scalar(select(schema.sweep.c.spec).where(schema.sweep.c.name == sweep))
                self._forget(connection, sweep, spec or {})
            before = entries.shown(connection, sweep)
            if places is not None:
                entries.adopt(connection, sweep, places)
                entries.keep_searches(connection, sweep, places)
            entries.hide_grid(connection, sweep)
            self._add(connection, sweep, plan, before=before)

    def add_entries(self, sweep: str, planned: Sequence[Entry], *, retired: Sequence[str] = ()) -> None:
        """Plan more work, and hide what is `retired`, by its keys.

        What was planned before keeps its state; what is already scored or diverged is closed at once. An entry takes the place
        of what the same stage planned for its trial at another budget.
        """
        with self._transaction(sweep) as connection:
            before = entries.shown(connection, sweep)
            entries.hide(connection, sweep, retired)
            self._add(connection, sweep, planned, before=before)

    def settle(self, sweep: str) -> None:
        """Close the entries whose score or divergence another sweep has recorded since they were planned."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            entries.settle(connection, sweep, now=now)
            self._judge.judge(connection, sweep, now=now)

    def searched(self, sweep: str, stage: str) -> None:
        """Record that a search, by its stage's id, has proposed all that it will: what waits for more of it is judged."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            known = connection.scalar(select(schema.sweep.c.searched).where(schema.sweep.c.name == sweep)) or []
            if stage in known:
                return
            _set_sweep(connection, sweep, searched=sorted([*known, stage]))
            events.append(connection, AllProposed(stage=stage), sweep=sweep, at=now)
            self._judge.judge(connection, sweep, now=now)

    def end_budget(self, sweep: str, keys: Sequence[str], *, why: str) -> None:
        """Record that the budget does not hold these waiting entries: what waits to be compared with them is judged."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            entries.leave_out(connection, sweep, keys, why=why, now=now)
            events.append(connection, BudgetEnded(keys=tuple(keys), why=why), sweep=sweep, at=now)
            self._judge.judge(connection, sweep, now=now)

    def reopen(self, sweep: str) -> None:
        """Start again after an end of any kind: open attempts are lost with their driver, and what has no score waits."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            lost = attempts.close_lost(connection, sweep, now=now)
            entries.settle(connection, sweep, now=now)
            entry = schema.entry.c
            delayed = (entry.state == EntryState.WAITING) & ((entry.not_before > 0) | entry.alone | (entry.why != ""))
            unsettled = entry.state.not_in([*SETTLED, EntryState.WAITING, EntryState.HELD])
            again = entries.of_sweep(sweep).where(unsettled | delayed)
            fresh = {"state": EntryState.WAITING, "not_before": 0.0, "alone": False, "why": "", "updated_at": now}
            waiting = connection.execute(again.values(**fresh)).rowcount
            if lost or waiting:
                events.append(connection, Reopened(lost_attempts=lost, waiting=waiting), sweep=sweep, at=now)
            self._judge.judge(connection, sweep, now=now)

    def waits(self, trial_id: str, images: int, *, why: str, wait_s: float = 0.0) -> None:
        """Record for what a trial waits that a lane was given, and is given again in `wait_s` at the earliest; without effect
        where it waits no more."""
        now, sweep = self._clock(), self._lease.sweep
        entry = schema.entry.c
        with self._transaction(sweep) as connection:
            wanted = (entry.trial_id == trial_id, entry.images == images, entry.state == EntryState.WAITING)
            then = {"why": redact(why), "not_before": now + wait_s if wait_s else 0.0}
            if connection.execute(entries.of_sweep(sweep).where(*wanted).values(**then, updated_at=now)).rowcount:
                events.append(connection, Waits(why=redact(why)), sweep=sweep, at=now, trial_id=trial_id)

    def begin(self, sweep: str, trial_id: str, images: int, *, lane: str, host: str, pid: int) -> AttemptRow | None:
        """Open the trial's next attempt for this sweep's entries that want it at `images`; one still open is given up. A lane
        that has it open gets that one: it asks again, since the answer was lost.

        None where nothing is left to do: its score or divergence is known by now. TrialBusy: another sweep trains it.
        """
        now = self._clock()
        address = LaneAddress(lane=lane, host=host, pid=pid)
        with self._transaction(sweep) as connection:
            last = self._last_attempt(connection, trial_id)
            if last is not None and last.outcome is None:
                if (last.sweep, last.lane, last.target_images) == (sweep, lane, images):
                    return last
                if last.sweep != sweep and is_run(connection, last.sweep, clock=self._lease.clock):
                    raise TrialBusy(f"trial {trial_id} is being trained by the sweep {last.sweep!r}")
                self._replace(connection, last, now=now)
            entries.settle(connection, sweep, now=now, trial_id=trial_id)
            self._judge.judge(connection, sweep, now=now, trial_id=trial_id)
            if not entries.has_unsettled(connection, sweep, trial_id, images):
                return None
            opened = attempts.open_next(
                connection, last, sweep=sweep, trial_id=trial_id, images=images, address=address, now=now
            )
            entries.run(connection, opened, now=now)
            self._judge.touch(trial_id)
            begun = Begun(**address._asdict(), target_images=images, images=opened.images)
            events.append(connection, begun, sweep=sweep, at=now, trial_id=trial_id, attempt=opened.number)
            return opened

    def report(self, trial_id: str, attempt: int, sequence: int, report: Report, *, too_dear: str = "") -> Decision:
        """Record what an attempt says and answer it; a repeated sequence is answered as before and changes nothing.

        too_dear: why the budget does not hold what lies behind a rung; empty where it does. The trial then pauses, whatever
        else speaks for its going on.
        StaleAttempt: it is no longer the trial's current attempt.
        """
        with self._transaction(self._lease.sweep) as connection:
            if events.is_recorded(connection, trial_id, attempt, sequence):
                return events.recorded_decision(connection, trial_id, attempt, sequence)
            row = self._own_attempt(connection, trial_id, attempt)
            if row.outcome is not None:
                raise StaleAttempt(f"attempt {attempt} of trial {trial_id} has ended as {row.outcome}")
            judge, now = self._judge, self._clock()
            return reports.apply(connection, row, report, sequence=sequence, judge=judge, now=now, too_dear=too_dear)

    def fail(self, trial_id: str, attempt: int, *, cause: Cause, detail: str) -> str:
        """End an attempt that did not end itself, by its cause's rule; one that has ended stays as it ended.

        Returns why the whole sweep must stop; empty where it need not.
        """
        now, since = self._clock(), self._lease.owner.started_at
        why = redact(detail.strip()) or str(cause)
        with self._transaction(self._lease.sweep) as connection:
            row = self._own_attempt(connection, trial_id, attempt)
            if row.outcome is not None:
                log.info("attempt %s of trial %s had already ended as %s", attempt, trial_id, row.outcome)
                return ""
            ending = attempts.failed(connection, row, cause, detail=why, since=since)
            record = Failed(cause=cause, detail=why, leaves=ending.leaves, then=ending.why)
            events.append(connection, record, sweep=row.sweep, at=now, trial_id=trial_id, attempt=attempt)
            attempts.close(connection, row, ending, now=now)
            self._judge.judge(connection, row.sweep, now=now, trial_id=trial_id)
            alike = attempts.equal_bugs(connection, row.sweep, why, since=since) if cause is Cause.BUG else []
        if len(alike) < EQUAL_BUGS:
            return ""
        return f"{len(alike)} trials ended in the same error ({', '.join(alike)}): {why.splitlines()[-1]}"

    def finish(self, sweep: str, state: SweepState, *, reason: str = "") -> None:
        """Record how the sweep's run ended, and why where it did not go to its end."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            _set_sweep(connection, sweep, state=state, updated_at=now)
            events.append(connection, Finished(state=state, reason=reason), sweep=sweep, at=now)

    @contextmanager
    def _transaction(self, sweep: str) -> Iterator[Connection]:
        assert sweep == self._lease.sweep, f"the lease is for {self._lease.sweep!r}, got {sweep!r}"
        try:
            with writing(self._engine) as connection:
                self._lease.check(connection)
                yield connection
        except BaseException:
            self._judge.forget()
            raise

    def _add(
        self, connection: Connection, sweep: str, planned: Sequence[Entry], *, before: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Plan, and tell what differs from what was shown before."""
        now = self._clock()
        fresh = entries.add(connection, sweep, planned, now=now)
        entries.supersede(connection, sweep, planned)
        after = entries.shown(connection, sweep)
        different = [entry for key, entry in after.items() if before.get(key) != entry]
        hidden = [key for key in before if key not in after]
        if different or hidden:
            record = EntriesAdded(count=fresh, planned=tuple(different), hidden=tuple(hidden))
            events.append(connection, record, sweep=sweep, at=now)
        entries.settle(connection, sweep, now=now)
        self._judge.judge(connection, sweep, now=now)

    def _replace(self, connection: Connection, attempt: AttemptRow, *, now: float) -> None:
        """Give up an attempt that is still open, in its own sweep's event log."""
        ending = attempts.REPLACED
        record = Failed(cause=Cause.WORKER_LOST, detail=ending.detail, leaves=ending.leaves, then=ending.why)
        lock(connection, attempt.sweep)
        events.append(connection, record, sweep=attempt.sweep, at=now, trial_id=attempt.trial_id, attempt=attempt.number)
        attempts.close(connection, attempt, ending, now=now)

    def _forget(self, connection: Connection, sweep: str, spec: Mapping[str, Any]) -> None:
        """Void every verdict: from now on another scheduler judges, or the same one at other gates."""
        verdicts.forget(connection, sweep)
        events.append(connection, Rescheduled(scheduler=spec.get("scheduler")), sweep=sweep, at=self._clock())

    def _own_attempt(self, connection: Connection, trial_id: str, number: int) -> AttemptRow:
        row = attempts.read(connection, trial_id, number)
        if row.sweep != self._lease.sweep:
            raise StaleAttempt(f"attempt {number} of trial {trial_id} belongs to the sweep {row.sweep!r}")
        return row

    def _last_attempt(self, connection: Connection, trial_id: str) -> AttemptRow | None:
        trial = schema.trial.c
        number = connection.scalar(select(trial.attempts).where(trial.id == trial_id).with_for_update())
        if number is None:
            raise ValueError(f"`begin` needs a planned trial, got {trial_id}")
        return attempts.read(connection, trial_id, number) if number else None


def _running(now: float) -> dict[str, Any]:
    """What a sweep's row says at each start of a run."""
    return {"state": SweepState.RUNNING, "updated_at": now, "searched": []}


def _set_sweep(connection: Connection, name: str, **values: object) -> None:
    connection.execute(update(schema.sweep).where(schema.sweep.c.name == name).values(**values))
