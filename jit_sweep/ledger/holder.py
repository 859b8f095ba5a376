"""Who holds a lease, and whether that process is still there."""

import os
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Row, select

from jit_sweep.ledger.records import Owner
from jit_sweep.ledger.schema import lease


def holder(row: Row[tuple[object, ...]]) -> Owner:
    """The owner that a lease's row names."""
    return Owner(host=row.host, pid=row.pid, user=row.user, started_at=row.started_at)


def live_holders(connection: Connection, *, now: float, seen_from: str) -> dict[str, Owner]:
    """By sweep: who holds its lease, where that has not run out and the holder is not known to be gone."""
    rows = connection.execute(select(lease).where(lease.c.expires_at > now).order_by(lease.c.sweep)).all()
    return {row.sweep: holder(row) for row in rows if not is_gone(holder(row), seen_from=seen_from)}


def is_gone(holder: Owner, *, seen_from: str) -> bool:
    """Whether the holder ran on this host and its process is gone; False where that cannot be told."""
    if holder.host != seen_from:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(holder.pid)


def _is_zombie(pid: int) -> bool:
    """Killed but not yet collected by its parent; no parent ever does in many containers."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
