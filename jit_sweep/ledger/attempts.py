"""How an attempt opens and how it ends."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from jit_sweep.ledger import entries, schema
from jit_sweep.ledger.connect import insert_new
from jit_sweep.ledger.records import AttemptOutcome, AttemptRow, Cause, EntryState, attempt_row
from jit_sweep.redact import redact

_ATTEMPT = schema.attempt.c


class Ending(NamedTuple):
    """How an attempt ended and what becomes of the entries that it leaves without a score."""

    outcome: AttemptOutcome
    leaves: EntryState
    cause: Cause | None
    detail: str
    first_bad_step: int | None = None
    seconds: Mapping[str, float] | None = None
    """Cost by kind; None where the attempt could not say."""


class Place(NamedTuple):
    """Where an attempt runs."""

    lane: str
    host: str
    pid: int


DRIVER_LOST = Ending("driver_lost", EntryState.WAITING, Cause.DRIVER_LOST, "the sweep's command or driver ended without it")
REPLACED = Ending("failed", EntryState.WAITING, Cause.WORKER_LOST, "another attempt was begun while this one was open")


def failed(cause: Cause, *, detail: str) -> Ending:
    """The end of an attempt that could not end itself. A cancelled one can go on; the others need a new run."""
    if cause is Cause.DIVERGED:
        return Ending("diverged", EntryState.DIVERGED, cause, detail)
    return Ending("failed", EntryState.PAUSED if cause is Cause.CANCELLED else EntryState.FAILED, cause, detail)


def read(connection: Connection, trial_id: str, number: int) -> AttemptRow:
    """An attempt. ValueError: there is none of this number."""
    query = select(schema.attempt).where(_ATTEMPT.trial_id == trial_id, _ATTEMPT.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise ValueError(f"an attempt must have been begun, got attempt {number} of trial {trial_id}")
    return attempt_row(row)


def open_next(
    connection: Connection, last: AttemptRow | None, *, sweep: str, trial_id: str, images: int, place: Place, now: float
) -> AttemptRow:
    """Open the attempt after `last`, which it goes on from where that committed a checkpoint within the new target."""
    number = last.number + 1 if last is not None else 1
    row = {"trial_id": trial_id, "number": number, "sweep": sweep, "target_images": images, "images": 0, "step": 0}
    if last is not None and last.checkpoint_images is not None and last.checkpoint_images <= images:
        done = {"images": last.checkpoint_images, "checkpoint_images": last.checkpoint_images, "checkpoint": last.checkpoint}
        row |= done
    connection.execute(insert(schema.attempt).values(**row, **place._asdict(), started_at=now, updated_at=now))
    connection.execute(update(schema.trial).where(schema.trial.c.id == trial_id).values(attempts=number))
    return read(connection, trial_id, number)


def set_values(connection: Connection, attempt: AttemptRow, **values: object) -> None:
    key = (_ATTEMPT.trial_id == attempt.trial_id, _ATTEMPT.number == attempt.number)
    connection.execute(update(schema.attempt).where(*key).values(**values))


def close(connection: Connection, attempt: AttemptRow, ending: Ending, *, now: float) -> None:
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
    connection.execute(left.values(state=ending.leaves, updated_at=now))


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
