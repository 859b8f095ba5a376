"""All that is ever written about a sweep, one transaction a call, by the holder of its lease."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from jit_sweep.errors import UserError
from jit_sweep.ledger import attempts, entries, events, reports, schema
from jit_sweep.ledger.attempts import Place
from jit_sweep.ledger.connect import writing
from jit_sweep.ledger.facts import changes
from jit_sweep.ledger.lease import Clock, Lease, is_held
from jit_sweep.ledger.records import SETTLED, AttemptRow, Cause, EntryState, EventKind, SweepState
from jit_sweep.plan import Entry
from jit_sweep.redact import redact
from trainables.report import Decision, Report

log = logging.getLogger(__name__)

MOST_CHANGES_SHOWN = 8


class StaleAttempt(RuntimeError):
    """The attempt has ended or was replaced: what it still says is not recorded."""


class TrialBusy(RuntimeError):
    """Another sweep is training this very trial now; its score will serve this sweep too."""


class LedgerWriter:
    """Writes about one sweep. Every method raises LeaseLost, and changes nothing, once another process took the sweep over."""

    def __init__(self, engine: Engine, lease: Lease, *, clock: Clock = time.time) -> None:
        self._engine = engine
        self._lease = lease
        self._clock = clock

    def register(self, name: str, *, fingerprint: str, facts: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """Enter a sweep, or take it up again. UserError: the name belongs to a sweep with other facts."""
        now = self._clock()
        with self._transaction(name) as connection:
            row = connection.execute(select(schema.sweep).where(schema.sweep.c.name == name)).one_or_none()
            if row is not None:
                if row.fingerprint != fingerprint:
                    raise UserError(_changed(name, old=row.facts, new=facts))
                _set_sweep(connection, name, spec=spec, state=SweepState.RUNNING, updated_at=now)
                return
            fixed = {"name": name, "fingerprint": fingerprint, "facts": facts, "created_at": now}
            first = {"spec": spec, "state": SweepState.RUNNING, "updated_at": now}
            connection.execute(insert(schema.sweep).values(**fixed, **first))
            events.append(connection, EventKind.REGISTERED, sweep=name, at=now, data={"fingerprint": fingerprint})

    def plan_entries(self, sweep: str, plan: Sequence[Entry]) -> None:
        """Make this all that the sweep's grids plan: other grid entries are hidden, and only their scores stay.

        What searches have proposed stays; the rest is as `add_entries` has it.
        """
        with self._transaction(sweep) as connection:
            entries.hide_grid(connection, sweep)
            self._add(connection, sweep, plan)

    def add_entries(self, sweep: str, planned: Sequence[Entry]) -> None:
        """Plan more work. What was planned before keeps its state; what is already scored or diverged is closed at once.

        An entry takes the place of what the same stage planned for its trial at another budget.
        """
        with self._transaction(sweep) as connection:
            self._add(connection, sweep, planned)

    def settle(self, sweep: str) -> None:
        """Close the entries whose score or divergence another sweep has recorded since they were planned."""
        with self._transaction(sweep) as connection:
            entries.settle(connection, sweep, now=self._clock())

    def reopen(self, sweep: str) -> None:
        """Start again after an end of any kind: open attempts are lost with their driver, and what has no score waits."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            lost = attempts.close_lost(connection, sweep, now=now)
            entries.settle(connection, sweep, now=now)
            unsettled = entries.of_sweep(sweep).where(schema.entry.c.state.not_in([*SETTLED, EntryState.WAITING]))
            waiting = connection.execute(unsettled.values(state=EntryState.WAITING, updated_at=now)).rowcount
            if lost or waiting:
                data = {"lost_attempts": lost, "waiting": waiting}
                events.append(connection, EventKind.REOPENED, sweep=sweep, at=now, data=data)

    def begin(self, sweep: str, trial_id: str, images: int, *, lane: str, host: str, pid: int) -> AttemptRow | None:
        """Open the trial's next attempt for this sweep's entries that want it at `images`; one still open is given up.

        None where nothing is left to do: its score or divergence is known by now. TrialBusy: another sweep trains it.
        """
        now = self._clock()
        place = Place(lane=lane, host=host, pid=pid)
        with self._transaction(sweep) as connection:
            last = self._last_attempt(connection, trial_id)
            if last is not None and last.outcome is None:
                if last.sweep != sweep and is_held(connection, last.sweep, now=now):
                    raise TrialBusy(f"trial {trial_id} is being trained by the sweep {last.sweep!r}")
                attempts.close(connection, last, attempts.REPLACED, now=now)
            entries.settle(connection, sweep, now=now, trial_id=trial_id)
            if not entries.has_unsettled(connection, sweep, trial_id, images):
                return None
            opened = attempts.open_next(connection, last, sweep=sweep, trial_id=trial_id, images=images, place=place, now=now)
            entries.run(connection, opened, now=now)
            data = {**place._asdict(), "target_images": images, "images": opened.images}
            events.append(connection, EventKind.BEGUN, sweep=sweep, at=now, trial_id=trial_id, attempt=opened.number, data=data)
            return opened

    def report(self, trial_id: str, attempt: int, sequence: int, report: Report) -> Decision:
        """Record what an attempt says and answer it; a repeated sequence is answered as before and changes nothing.

        StaleAttempt: it is no longer the trial's current attempt.
        """
        with self._transaction(self._lease.sweep) as connection:
            if events.is_recorded(connection, trial_id, attempt, sequence):
                return events.recorded_decision(connection, trial_id, attempt, sequence)
            row = self._own_attempt(connection, trial_id, attempt)
            if row.outcome is not None:
                raise StaleAttempt(f"attempt {attempt} of trial {trial_id} has ended as {row.outcome}")
            return reports.apply(connection, row, report, sequence=sequence, now=self._clock())

    def fail(self, trial_id: str, attempt: int, *, cause: Cause, detail: str) -> None:
        """End an attempt that did not end itself; one that has ended stays as it ended."""
        now = self._clock()
        why = redact(detail.strip()) or str(cause)
        with self._transaction(self._lease.sweep) as connection:
            row = self._own_attempt(connection, trial_id, attempt)
            if row.outcome is not None:
                log.info("attempt %s of trial %s had already ended as %s", attempt, trial_id, row.outcome)
                return
            attempts.close(connection, row, attempts.failed(cause, detail=why), now=now)
            data = {"cause": cause, "detail": why}
            events.append(connection, EventKind.FAILED, sweep=row.sweep, at=now, trial_id=trial_id, attempt=attempt, data=data)

    def finish(self, sweep: str, state: SweepState) -> None:
        """Record how the sweep's run ended."""
        now = self._clock()
        with self._transaction(sweep) as connection:
            _set_sweep(connection, sweep, state=state, updated_at=now)
            events.append(connection, EventKind.FINISHED, sweep=sweep, at=now, data={"state": state})

    @contextmanager
    def _transaction(self, sweep: str) -> Iterator[Connection]:
        assert sweep == self._lease.sweep, f"the lease is for {self._lease.sweep!r}, got {sweep!r}"
        with writing(self._engine) as connection:
            self._lease.check(connection)
            yield connection

    def _add(self, connection: Connection, sweep: str, planned: Sequence[Entry]) -> None:
        now = self._clock()
        fresh = entries.add(connection, sweep, planned, now=now)
        entries.supersede(connection, sweep, planned)
        if fresh:
            events.append(connection, EventKind.ENTRIES_ADDED, sweep=sweep, at=now, data={"count": fresh})
        entries.settle(connection, sweep, now=now)

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


def _set_sweep(connection: Connection, name: str, **values: object) -> None:
    connection.execute(update(schema.sweep).where(schema.sweep.c.name == name).values(**values))


def _changed(name: str, *, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    found = changes(old, new)
    shown = [f"  {change}" for change in found[:MOST_CHANGES_SHOWN]]
    if len(found) > len(shown):
        shown.append(f"  and {len(found) - len(shown)} more")
    rule = f"a sweep keeps its baseline, data, objective and evaluation, and {name!r} has run with others"
    return "\n".join([f"{rule}; rename the sweep, or choose another home with --home:", *shown])
