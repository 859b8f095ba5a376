"""Temporary folders that belong to a process for as long as it lives, by a lock that the kernel gives back when it dies.

A pid would say less: processes of other containers that share the folder's parent have pids of their own.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".lock"


@contextmanager
def held_folder(parent: Path, *, prefix: str) -> Iterator[Path]:
    """A new folder, gone at the end; those that killed processes have left under this prefix are removed first."""
    _remove_abandoned(parent, prefix=prefix)
    folder, lock = _new(parent, prefix=prefix)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        _remove(folder, lock)


def _new(parent: Path, *, prefix: str) -> tuple[Path, int]:
    """A path that is not taken yet, and the lock beside it."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(4)}"
        lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if _takes(lock, folder):
            return folder, lock


def _remove_abandoned(parent: Path, *, prefix: str) -> None:
    for file in parent.glob(f"{prefix}*{_LOCK}"):
        with suppress(OSError):  # its holder has just removed it, or it is another user's
            folder, lock = file.with_suffix(""), os.open(file, os.O_RDWR | os.O_NOFOLLOW)
            if _takes(lock, folder):
                _remove(folder, lock)


def _takes(lock: int, folder: Path) -> bool:
    """Whether the open lock of a folder is ours and nobody else's now; else it is closed."""
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(lock)
        # Between opening and locking it, its holder may have removed it.
        if held.st_uid == os.getuid() and os.path.samestat(held, os.stat(_lock_of(folder))):
            return True
    os.close(lock)
    return False


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(FileNotFoundError):
        _lock_of(folder).unlink()
    os.close(lock)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)
