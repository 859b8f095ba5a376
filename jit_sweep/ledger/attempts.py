"""How an attempt opens and how it ends."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from jit_sweep.ledger import entries, schema
from jit_sweep.ledger.connect import insert_new
from jit_sweep.ledger.failures import follow_up, signature
from jit_sweep.ledger.records import AttemptOutcome, AttemptRow, Cause, EntryState, attempt_row
from jit_sweep.redact import redact

_ATTEMPT = schema.attempt.c
_KEY = (_ATTEMPT.trial_id == bindparam("of_trial"), _ATTEMPT.number == bindparam("of_number"))
# Statements of a report are built once: building one takes longer than sqlite takes to answer it.
_READ = select(schema.attempt).where(*_KEY)
_SET = update(schema.attempt).where(*_KEY)


class AttemptEnd(NamedTuple):
    """How an attempt ended and what becomes of the entries that it leaves without a score."""

    outcome: AttemptOutcome
    leaves: EntryState
    cause: Cause | None
    detail: str
    first_bad_step: int | None = None
    seconds: Mapping[str, float] | None = None
    """Cost by kind; None where the attempt could not say."""
    wait_s: float = 0.0
    """Before it may be tried again."""
    alone: bool = False
    why: str = ""
    """Why its entries stand as they then do."""


class LaneAddress(NamedTuple):
    """Where an attempt runs."""

    lane: str
    host: str
    pid: int


DRIVER_LOST = AttemptEnd("driver_lost", EntryState.WAITING, Cause.DRIVER_LOST, "the sweep's command or driver ended without it")
REPLACED = AttemptEnd("failed", EntryState.WAITING, Cause.WORKER_LOST, "another attempt was begun while this one was open")


def failed(connection: Connection, attempt: AttemptRow, cause: Cause, *, detail: str, since: float) -> AttemptEnd:
    """The end of an attempt that could not end itself, by its cause's rule; failures before `since` do not count."""
    outcome: AttemptOutcome = "diverged" if cause is Cause.DIVERGED else "failed"
    if cause is Cause.OUT_OF_MEMORY and attempt.micro_batch == 1:
        return AttemptEnd(
            outcome, EntryState.FAILED, cause, detail, why="out_of_memory with one image at a time: not tried again"
        )
    query = select(schema.attempt).where(
        _ATTEMPT.trial_id == attempt.trial_id, _ATTEMPT.number < attempt.number, _ATTEMPT.started_at >= since
    )
    before = [attempt_row(row) for row in connection.execute(query.order_by(_ATTEMPT.number))]
    then = follow_up(cause, before, images=attempt.checkpoint_images or 0)
    return AttemptEnd(outcome, then.leaves, cause, detail, wait_s=then.wait_s, alone=then.alone, why=then.why)


def read(connection: Connection, trial_id: str, number: int) -> AttemptRow:
    """An attempt. ValueError: there is none of this number."""
    row = connection.execute(_READ, {"of_trial": trial_id, "of_number": number}).one_or_none()
    if row is None:
        raise ValueError(f"an attempt must have been begun, got attempt {number} of trial {trial_id}")
    return attempt_row(row)


def open_next(
    connection: Connection, last: AttemptRow | None, *, sweep: str, trial_id: str, images: int, address: LaneAddress, now: float
) -> AttemptRow:
    """Open the attempt after `last`, which it goes on from where that committed a checkpoint within the new target."""
    number = last.number + 1 if last is not None else 1
    row = {"trial_id": trial_id, "number": number, "sweep": sweep, "target_images": images, "images": 0, "step": 0}
    if last is not None and last.checkpoint_images is not None and last.checkpoint_images <= images:
        done = {"images": last.checkpoint_images, "checkpoint_images": last.checkpoint_images, "checkpoint": last.checkpoint}
        row |= done
    connection.execute(insert(schema.attempt).values(**row, **address._asdict(), started_at=now, updated_at=now))
    connection.execute(update(schema.trial).where(schema.trial.c.id == trial_id).values(attempts=number))
    return read(connection, trial_id, number)


def equal_bugs(connection: Connection, sweep: str, detail: str, *, since: float) -> list[str]:
    """The trials that have ended in this very error since then."""
    bugs = select(_ATTEMPT.trial_id, _ATTEMPT.detail).where(
        _ATTEMPT.sweep == sweep, _ATTEMPT.cause == Cause.BUG, _ATTEMPT.started_at >= since
    )
    alike = [row.trial_id for row in connection.execute(bugs) if signature(row.detail) == signature(detail)]
    return list(dict.fromkeys(alike))


def set_values(connection: Connection, attempt: AttemptRow, **values: object) -> None:
    connection.execute(_SET, {"of_trial": attempt.trial_id, "of_number": attempt.number, **values})


def close(connection: Connection, attempt: AttemptRow, ending: AttemptEnd, *, now: float) -> None:
    """End an attempt, record its cost and divergence, and move its entries on."""
    set_values(
        connection,
        attempt,
        outcome=ending.outcome,
        cause=ending.cause,
        detail=redact(ending.detail),
        first_bad_step=ending.first_bad_step,
        ended_at=now,
    )
    seconds = ending.seconds if ending.seconds is not None else {"train": attempt.updated_at - attempt.started_at}
    rows = [
        {"trial_id": attempt.trial_id, "attempt": attempt.number, "kind": kind, "seconds": spent}
        for kind, spent in seconds.items()
    ]
    insert_new(connection, schema.cost, rows)
    if ending.outcome == "diverged":
        _mark_diverged(connection, attempt)
    entries.settle(connection, attempt.sweep, now=now, trial_id=attempt.trial_id)
    entry = schema.entry.c
    left = entries.of_sweep(attempt.sweep).where(
        entry.trial_id == attempt.trial_id, entry.attempt == attempt.number, entry.state == EntryState.RUNNING
    )
    then = {"state": ending.leaves, "not_before": now + ending.wait_s, "alone": ending.alone, "why": redact(ending.why)}
    connection.execute(left.values(**then, updated_at=now))


def close_lost(connection: Connection, sweep: str, *, now: float) -> int:
    """End the attempts that a sweep's former driver left open; returns how many."""
    query = select(schema.attempt).where(_ATTEMPT.sweep == sweep, _ATTEMPT.outcome.is_(None))
    lost = [attempt_row(row) for row in connection.execute(query)]
    for attempt in lost:
        close(connection, attempt, DRIVER_LOST, now=now)
    return len(lost)


def _mark_diverged(connection: Connection, attempt: AttemptRow) -> None:
    trial = schema.trial.c
    earliest = func.coalesce(trial.diverged_images, attempt.images)
    connection.execute(update(schema.trial).where(trial.id == attempt.trial_id).values(diverged_images=earliest))
