"""Who holds a lease, and whether that process is still there.

A process is named by its machine's boot, its pid namespace, its pid and its start: host names and pids come again, in
containers above all.
"""

import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from jit_sweep.ledger.records import Owner

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"


class Presence(StrEnum):
    """What can be told of a process from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It is, or was, on another machine or in another pid namespace."""


def this_process(*, clock: Callable[[], float] = time.time) -> Owner:
    """The owner that this process is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    host, pid = socket.gethostname(), os.getpid()
    return Owner(
        host=host,
        pid=pid,
        user=user,
        started_at=clock(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        process_start=_process_start(pid) or 0,
    )


def presence(owner: Owner) -> Presence:
    """Whether the owner's process lives, where this process can tell."""
    if not owner.boot_id or (owner.boot_id, owner.pid_namespace) != (_boot_id(), _pid_namespace()):
        return Presence.UNKNOWN
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return Presence.GONE
    except PermissionError:
        pass
    start = _process_start(owner.pid)
    if start is None:
        return Presence.UNKNOWN
    return Presence.ALIVE if start == owner.process_start else Presence.GONE


def holder(row: Row[Any]) -> Owner:
    """The owner that a lease's row names."""
    return Owner(*(getattr(row, name) for name in Owner._fields))


def is_held(owner: Owner, *, expires_at: float, now: float) -> bool:
    """Whether an owner holds a lease: it has not run out or its process is seen to live, and is not seen to be gone.

    expires_at: 0 where it was given back. now: by the database's clock.
    """
    if not expires_at:
        return False
    seen = presence(owner)
    return seen is Presence.ALIVE or (seen is Presence.UNKNOWN and expires_at > now)


def _boot_id() -> str:
    """The machine's and its boot's; the host's name where the system does not tell."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return f"host {socket.gethostname()}"


def _pid_namespace() -> str:
    """Within which a pid names one process; empty where the system has none."""
    with suppress(OSError):
        return os.readlink(_PID_NAMESPACE)
    return ""


def _process_start(pid: int) -> int | None:
    """When a process began, in the kernel's ticks since its boot; -1 for one that was killed but not yet collected by its
    parent, as none ever does in many containers. None where the system does not tell."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if state in "ZX" else int(fields[18])
