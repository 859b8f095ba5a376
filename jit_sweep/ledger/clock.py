"""The time that leases go by: the database's own, which all who use a ledger share, whatever their machines' clocks say."""

from collections.abc import Callable

from sqlalchemy import Connection, text

DatabaseClock = Callable[[Connection], float]
_NOW = {
    "postgresql": text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"),
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
}


def database_now(connection: Connection) -> float:
    """Seconds since the epoch by the database's clock; sqlite's is that of the machine its file lies on."""
    now: float = connection.execute(_NOW[connection.dialect.name]).scalar_one()
    return now
