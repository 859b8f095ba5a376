"""The diary: one row for everything that was written, in order; it also tells a repeated report from a new one."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from jit_sweep.ledger import schema
from jit_sweep.ledger.records import EventKind
from trainables.report import Decision


def append(
    connection: Connection,
    kind: EventKind,
    *,
    sweep: str,
    at: float,
    data: Mapping[str, Any],
    trial_id: str | None = None,
    attempt: int | None = None,
    sequence: int | None = None,
) -> None:
    """Write one event. A (trial, attempt, sequence) can be written once only."""
    place = {"sweep": sweep, "trial_id": trial_id, "attempt": attempt, "sequence": sequence}
    connection.execute(insert(schema.event).values(kind=kind, at=at, data=data, **place))


def is_recorded(connection: Connection, trial_id: str, attempt: int, sequence: int) -> bool:
    """Whether this report is already in the ledger."""
    event = schema.event.c
    key = (event.trial_id == trial_id, event.attempt == attempt, event.sequence == sequence)
    return connection.scalar(select(event.id).where(*key)) is not None


def recorded_decision(connection: Connection, trial_id: str, attempt: int, sequence: int) -> Decision:
    """How this report was answered; only rungs are answered with anything but `go_on`."""
    decision = schema.decision.c
    key = (decision.trial_id == trial_id, decision.attempt == attempt, decision.sequence == sequence)
    row = connection.execute(select(decision.verdict, decision.reason).where(*key)).one_or_none()
    return Decision(verdict=row.verdict, reason=row.reason) if row is not None else Decision()
