"""One writer a sweep: a lease with a rising epoch, which every transaction of the writer checks."""

import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, Row, select, update

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import insert_new, writing
from jit_sweep.ledger.holder import holder, is_gone
from jit_sweep.ledger.records import Owner, when
from jit_sweep.ledger.schema import lease as table

TTL_S = 60.0
"""A holder that has not renewed for this long counts as gone; longer than a lane goes on without it."""

Clock = Callable[[], float]


class LeaseHeld(UserError):
    """Somebody else runs this sweep."""


class LeaseLost(RuntimeError):
    """Another process took the sweep over: nothing that this one still says is recorded."""


def this_process(*, clock: Clock = time.time) -> Owner:
    """The owner that this process is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return Owner(host=socket.gethostname(), pid=os.getpid(), user=user, started_at=clock())


@dataclass(frozen=True)
class Lease:
    """The right to write about one sweep, for as long as it is renewed and nobody took it over."""

    engine: Engine = field(repr=False)
    sweep: str
    epoch: int
    owner: Owner
    ttl_s: float
    clock: Clock = field(repr=False)

    def renew(self) -> None:
        """Hold it for another `ttl_s`. LeaseLost: somebody took it over."""
        with writing(self.engine) as connection:
            self.check(connection)
            _set(connection, self.sweep, expires_at=self.clock() + self.ttl_s)

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


def acquire(engine: Engine, sweep: str, owner: Owner, *, ttl_s: float = TTL_S, clock: Clock = time.time) -> Lease:
    """Become the one writer of a sweep. LeaseHeld: somebody else is, and is not known to be gone."""
    with writing(engine) as connection:
        insert_new(connection, table, [{"sweep": sweep, "epoch": 0, "expires_at": 0.0, **_columns(owner)}])
        row = _locked(connection, sweep)
        assert row is not None
        now = clock()
        if row.expires_at > now and not is_gone(holder(row), seen_from=owner.host):
            raise LeaseHeld(_held(sweep, row, now=now))
        _set(connection, sweep, epoch=row.epoch + 1, expires_at=now + ttl_s, **_columns(owner))
        return Lease(engine=engine, sweep=sweep, epoch=row.epoch + 1, owner=owner, ttl_s=ttl_s, clock=clock)


def lock(connection: Connection, sweep: str) -> None:
    """Keep a sweep's writer out until this transaction ends: whoever reads its events in order must not miss one that was
    numbered earlier and written later."""
    _locked(connection, sweep)


def is_held(connection: Connection, sweep: str, *, now: float) -> bool:
    """Whether somebody holds a sweep's lease and it has not run out."""
    expires_at = connection.scalar(select(table.c.expires_at).where(table.c.sweep == sweep))
    return expires_at is not None and expires_at > now


def _locked(connection: Connection, sweep: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(select(table).where(table.c.sweep == sweep).with_for_update()).one_or_none()


def _set(connection: Connection, sweep: str, **values: str | float) -> None:
    connection.execute(update(table).where(table.c.sweep == sweep).values(**values))


def _columns(owner: Owner) -> dict[str, str | float]:
    return owner._asdict()


def _held(sweep: str, row: Row[tuple[object, ...]], *, now: float) -> str:
    rule = f"one command at a time runs a sweep, and {holder(row)} has been running {sweep!r} since {when(row.started_at)}"
    return f"{rule}; follow it, stop it, or try again {max(1, round(row.expires_at - now))} s after it is gone"
