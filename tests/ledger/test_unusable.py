"""A ledger that can be written no more is named at once, and ends the run after a while; one that is away is waited for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from jit_sweep.executor.patience import UNUSABLE_S, PatientCalls
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import Lease, LedgerGone, acquire
from tests.support.ledger import BOB, HandClock


def full(engine: Engine, lease: Lease) -> None:
    """Sqlite's own end of room: the file may have no page more, and its free ones are filled."""
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.exec_driver_sql("UPDATE lease SET host = hex(zeroblob(100000))")


def read_only(engine: Engine, lease: Lease) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    lease.renew()


def emptied(engine: Engine, lease: Lease) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE lease")
        connection.commit()
    lease.renew()


@pytest.fixture
def ledger_uri(tmp_path: Path) -> str:
    """A server tells of no such fault."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (full, "database or disk is full"),
        (read_only, "attempt to write a readonly database"),
        (emptied, "no such table: lease"),
    ],
)
def test_an_sqlite_ledger_that_cannot_be_written_is_named_at_once_and_then_ends_the_run(
    ledger_uri: str, spoil: Callable[[Engine, Lease], None], named: str
) -> None:
    engine, clock = open_engine(ledger_uri), HandClock()
    lease, calls = acquire(engine, "mine", BOB), PatientCalls(clock=clock)
    with pytest.raises(DBAPIError) as fault:
        spoil(engine, lease)
    calls.missed(fault.value)
    assert calls.away == named
    clock.now += UNUSABLE_S
    with pytest.raises(LedgerGone, match=f"the ledger must be writable, got for 20 s: {named}; mend it"):
        calls.missed(fault.value)
    engine.dispose()


def test_a_ledger_that_is_written_again_has_its_whole_time_again(ledger_uri: str) -> None:
    engine, clock = open_engine(ledger_uri), HandClock()
    lease, calls = acquire(engine, "mine", BOB), PatientCalls(clock=clock)
    with pytest.raises(DBAPIError) as fault:
        read_only(engine, lease)
    for _ in range(3):
        calls.missed(fault.value)
        calls.written()
        clock.now += UNUSABLE_S
        assert not calls.away
    engine.dispose()


def test_a_database_that_is_away_or_busy_is_waited_for_without_end() -> None:
    clock = HandClock()
    calls = PatientCalls(clock=clock)
    for _ in range(3):
        calls.missed(OperationalError("SELECT 1", None, OSError("connection refused")))
        assert calls.away == "connection refused"
        clock.now += 10 * UNUSABLE_S
