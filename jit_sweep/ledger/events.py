"""The event log: one row for everything that was written, in order; it also tells a repeated report from a new one."""

from sqlalchemy import Connection, bindparam, insert, select

from jit_sweep.ledger import schema
from jit_sweep.ledger.event_records import Asked, Content, EventKind, kind_of
from trainables.report import Decision

_EVENT = schema.event.c
_INSERT = insert(schema.event).inline()
_IS_RECORDED = select(_EVENT.id).where(
    _EVENT.trial_id == bindparam("trial"), _EVENT.attempt == bindparam("number"), _EVENT.sequence == bindparam("in_turn")
)


def append(
    connection: Connection,
    content: Content,
    *,
    sweep: str,
    at: float,
    trial_id: str | None = None,
    attempt: int | None = None,
    sequence: int | None = None,
) -> None:
    """Write one event. A (trial, attempt, sequence) can be written once only."""
    about = {"sweep": sweep, "trial_id": trial_id, "attempt": attempt, "sequence": sequence}
    data = content.model_dump(mode="json")
    connection.execute(_INSERT, {"kind": kind_of(content), "at": at, "data": data, **about})


def is_recorded(connection: Connection, trial_id: str, attempt: int, sequence: int) -> bool:
    """Whether this report is already in the ledger."""
    return connection.scalar(_IS_RECORDED, {"trial": trial_id, "number": attempt, "in_turn": sequence}) is not None


def recorded_decision(connection: Connection, trial_id: str, attempt: int, sequence: int) -> Decision:
    """How this report was answered; only rungs are answered with anything but `go_on`."""
    decision = schema.decision.c
    key = (decision.trial_id == trial_id, decision.attempt == attempt, decision.sequence == sequence)
    row = connection.execute(select(decision.verdict, decision.reason).where(*key)).one_or_none()
    return Decision(verdict=row.verdict, reason=row.reason) if row is not None else Decision()


def last_asked(connection: Connection, sweep: str) -> Asked | None:
    """What the sweep's verdicts were last planned to answer."""
    event = schema.event.c
    query = select(event.data).where(event.sweep == sweep, event.kind == EventKind.ASKED).order_by(event.id.desc())
    data = connection.scalar(query.limit(1))
    return Asked.model_validate(data) if data is not None else None
