"""One writer a sweep: a lease with a rising epoch, which every transaction of the writer checks."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, select, update

from jit_sweep.errors import UserError
from jit_sweep.ledger import schema
from jit_sweep.ledger.clock import DatabaseClock, database_now
from jit_sweep.ledger.connect import OPENED, Opened, insert_new, opened_file, writing
from jit_sweep.ledger.holder import holder, is_held
from jit_sweep.ledger.records import Owner, when
from jit_sweep.ledger.schema import lease as table

TTL_S = 60.0
"""A holder that has not renewed for this long counts as gone; longer than a lane goes on without it."""
WATCH_S = 15.0
"""How long a holder that lives but seems late is watched for a renewal: some of the times between two."""
LOOK_S = 0.5
_LOCK = select(table).where(table.c.sweep == bindparam("name")).with_for_update()


class LeaseHeld(UserError):
    """Somebody else runs this sweep."""


class LeaseLost(RuntimeError):
    """Another process took the sweep over: nothing that this one still says is recorded."""


class LedgerGone(LeaseLost):
    """The ledger's file was deleted or replaced under the run."""


@dataclass(frozen=True)
class Lease:
    """The right to write about one sweep, for as long as it is renewed and nobody took it over."""

    engine: Engine = field(repr=False)
    sweep: str
    epoch: int
    owner: Owner
    ttl_s: float = TTL_S
    clock: DatabaseClock = field(default=database_now, repr=False)

    def renew(self) -> None:
        """Hold it for another `ttl_s`. LeaseLost: somebody took it over. LedgerGone: its ledger is no longer at its address."""
        with writing(self.engine) as connection:
            check_same_file(connection)
            self.check(connection)
            _set(connection, self.sweep, expires_at=self.clock(connection) + self.ttl_s)

    def is_ours(self) -> bool:
        """Whether nobody has taken it over so far; nothing is held off."""
        with self.engine.connect() as connection:
            epoch = connection.scalar(select(table.c.epoch).where(table.c.sweep == self.sweep))
        return bool(epoch == self.epoch)

    def release(self) -> None:
        """Give it back; without effect where it is lost."""
        with suppress(LeaseLost), writing(self.engine) as connection:
            self.check(connection)
            _set(connection, self.sweep, expires_at=0.0)

    def check(self, connection: Connection) -> None:
        """Hold off a takeover until this transaction ends. LeaseLost: it has happened."""
        row = _locked(connection, self.sweep)
        if row is None or row.epoch != self.epoch:
            now = f"{holder(row)} runs it since {when(row.started_at)}" if row is not None else "its lease is gone"
            raise LeaseLost(f"the sweep {self.sweep!r} was taken over: {now}")


def acquire(
    engine: Engine,
    sweep: str,
    owner: Owner,
    *,
    ttl_s: float = TTL_S,
    clock: DatabaseClock = database_now,
    watch_s: float = WATCH_S,
) -> Lease:
    """Become the one writer of a sweep; a stop that was asked of its runs so far is forgotten.

    LeaseHeld: somebody else is, and is not known to be gone. A holder that is late by the database's clock but seen to live
    is watched for `watch_s`: one that renews meanwhile has woken up or was misjudged by a clock, any other hangs.
    """
    late = _take(engine, sweep, owner, ttl_s=ttl_s, clock=clock, judged=None)
    if isinstance(late, Lease):
        return late
    deadline = time.monotonic() + watch_s
    while time.monotonic() < deadline and _read(engine, sweep) == late:
        time.sleep(LOOK_S)
    taken = _take(engine, sweep, owner, ttl_s=ttl_s, clock=clock, judged=late)
    assert isinstance(taken, Lease), "who was watched is not watched again"
    return taken


def _take(
    engine: Engine, sweep: str, owner: Owner, *, ttl_s: float, clock: DatabaseClock, judged: Row[Any] | None
) -> Lease | Row[Any]:
    """The lease; or its row, where the holder is late but seen to live. `judged`: that row, once it has been watched."""
    with writing(engine) as connection:
        insert_new(connection, table, [{"sweep": sweep, "epoch": 0, "expires_at": 0.0, **owner._asdict()}])
        row = _locked(connection, sweep)
        assert row is not None
        now = clock(connection)
        if is_held(holder(row), expires_at=row.expires_at, now=now) and row != judged:
            if row.expires_at <= now and judged is None:
                return row
            raise LeaseHeld(_held(sweep, row, now=now))
        _set(connection, sweep, epoch=row.epoch + 1, expires_at=now + ttl_s, **owner._asdict())
        connection.execute(update(schema.sweep).where(schema.sweep.c.name == sweep).values(stop_asked_by=None))
        return Lease(engine=engine, sweep=sweep, epoch=row.epoch + 1, owner=owner, ttl_s=ttl_s, clock=clock)


def check_same_file(connection: Connection) -> None:
    """LedgerGone: the file that this connection has open is no longer at its address; a server's ledger always is."""
    opened = connection.info.get(OPENED)
    if opened is None:
        return
    try:
        there: Opened | None = opened_file(opened.file)
    except FileNotFoundError:
        there = None
    if there != opened:
        how = "replaced by another file" if there is not None else "deleted"
        raise LedgerGone(f"the ledger {opened.file} was {how} while a sweep of it ran; put it back, or run the sweep anew")


def lock(connection: Connection, sweep: str) -> None:
    """Keep a sweep's writer out until this transaction ends: whoever reads its events in order must not miss one that was
    numbered earlier and written later."""
    _locked(connection, sweep)


def is_run(connection: Connection, sweep: str, *, clock: DatabaseClock) -> bool:
    """Whether somebody holds a sweep's lease."""
    row = connection.execute(select(table).where(table.c.sweep == sweep)).one_or_none()
    return row is not None and is_held(holder(row), expires_at=row.expires_at, now=clock(connection))


def _read(engine: Engine, sweep: str) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(table).where(table.c.sweep == sweep)).one()


def _locked(connection: Connection, sweep: str) -> Row[Any] | None:
    return connection.execute(_LOCK, {"name": sweep}).one_or_none()


def _set(connection: Connection, sweep: str, **values: object) -> None:
    connection.execute(update(table).where(table.c.sweep == sweep).values(**values))


def _held(sweep: str, row: Row[Any], *, now: float) -> str:
    rule = f"one command at a time runs a sweep, and {holder(row)} has been running {sweep!r} since {when(row.started_at)}"
    return f"{rule}; follow it, stop it, or try again {max(1, round(row.expires_at - now))} s after it is gone"
