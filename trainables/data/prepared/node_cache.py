"""A node's copy of the prepared sets that its trials read from a store: one for all of them, fetched once.

Below `root` each set has a folder of its shards. A shard is there as soon as its file is: it is renamed into place once its
size and hash are right. Who reads a set holds a lock in `users`, which ends with its process, however that ends. Sets that
nobody holds make room, the one first that was used longest ago.
"""

import hashlib
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from trainables.data.prepared.manifest import Shard

SPARED_BYTES = 2**30
"""What a full cache leaves free of a disk."""
_USERS, _LOCK, _USED = "users", "lock", "used"
GIB = 2**30
LIMIT = "JIT_SWEEP_CACHE_GIB"
"""The environment variable that limits a node's cache: how large its disk is, the node knows and no sweep file."""


class CacheFull(OSError):
    """The set fits neither the disk nor the cache's limit, whatever may be evicted: the message is complete."""


class InShards(Protocol):
    """What can be held: the manifest of a prepared set, or of another thing in shards."""

    @property
    def digest(self) -> str:
        """Equal for equal content."""

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Its files."""


@dataclass(frozen=True)
class NodeCache:
    """Prepared sets, and others in shards, below one folder of a node's disk."""

    root: Path
    most_bytes: int | None = None
    """What the sets may take together; None: what the disk holds, but for `SPARED_BYTES`."""

    def hold(self, manifest: InShards) -> "HeldSet":
        """The set's folder, held by this process, with room for all its shards. CacheFull: there is none to be had."""
        folder = self.root / set_name(manifest)
        with self._alone():
            (folder / _USERS).mkdir(parents=True, exist_ok=True)
            user = FileLock(folder / _USERS / f"{os.getpid()}-{secrets.token_hex(4)}.lock", thread_local=False)
            user.acquire()
            (folder / _USED).touch()
            try:
                self._make_room(folder, manifest)
            except CacheFull:
                user.release()
                raise
        return HeldSet(folder, user)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / _LOCK):
            yield

    def _make_room(self, folder: Path, manifest: InShards) -> None:
        """Evict what nobody holds until the rest of this set fits."""
        missing = sum(shard.bytes for shard in manifest.shards if not has_shard(folder, shard))
        idle = sorted((other for other in self._sets() if other != folder and not is_held(other)), key=_used_at)
        while (lacking := self._lacking(missing)) > 0 and idle:
            shutil.rmtree(idle.pop(0), ignore_errors=True)
        if lacking > 0:
            rule = f"the node's copy of a prepared set must fit below {self.root}"
            held = sum(_bytes_of(other) for other in self._sets())
            got = f"{missing / GIB:.2f} GiB to fetch, {lacking / GIB:.2f} GiB more than there is beside {held / GIB:.2f} in use"
            raise CacheFull(
                f"{rule}, got {got}; free the disk, set TMPDIR to a larger one{self._raise_it}, or prepare it smaller"
            )

    @property
    def _raise_it(self) -> str:
        return f", raise {LIMIT}" if self.most_bytes is not None else ""

    def _lacking(self, missing: int) -> int:
        """Bytes by which the disk, or the limit, is too small for so many more."""
        lacking = missing + SPARED_BYTES - shutil.disk_usage(self.root).free if missing else 0
        if self.most_bytes is not None:
            lacking = max(lacking, missing + sum(map(_bytes_of, self._sets())) - self.most_bytes)
        return lacking

    def _sets(self) -> list[Path]:
        return [path for path in self.root.iterdir() if path.is_dir()]


@dataclass(frozen=True, eq=False)
class HeldSet:
    """A set's folder in the cache. As long as this lives, nobody evicts it."""

    folder: Path
    user: FileLock
    """Let go of where it is collected, and by the kernel where its process ends."""

    def fetch(self, shard: Shard, read: Callable[[], bytes], *, wait: bool) -> bool:
        """Have a shard's file here by `read`, once for the node; whether it is there.

        Without `wait`, False where another process is fetching it. What `read` raises is raised.
        """
        if has_shard(self.folder, shard):
            return True
        lock = FileLock(self.folder / f"{shard.name}.lock", timeout=-1 if wait else 0)
        try:
            with lock:
                if not has_shard(self.folder, shard):
                    self._write(shard, read())
        except Timeout:
            return False
        return True

    def _write(self, shard: Shard, content: bytes) -> None:
        temporary = self.folder / f".{shard.name}.{secrets.token_hex(4)}"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, self.folder / shard.name)
        finally:
            temporary.unlink(missing_ok=True)


def node_cache() -> NodeCache:
    """This user's cache below the folder for temporary files, which TMPDIR moves and `LIMIT` limits.

    ValueError: `LIMIT` is no number of GiB.
    """
    root = Path(tempfile.gettempdir()) / f"jit-sweep-{os.getuid()}" / "sets"
    return NodeCache(root, most_bytes=_most_bytes(os.environ.get(LIMIT, "")))


def _most_bytes(gib: str) -> int | None:
    if not gib:
        return None
    try:
        bytes = float(gib) * GIB
    except ValueError:
        bytes = 0.0
    if not 0 < bytes < math.inf:
        rule = f"{LIMIT} must be a number of GiB above 0 in the environment of the node's processes"
        raise ValueError(f"{rule}, got {gib!r}; set it where Ray is started, such as 200, or leave it out for the whole disk")
    return int(bytes)


def set_name(manifest: InShards) -> str:
    """What a set's folder is called: equal sets in other shards lie apart."""
    shards = hashlib.sha256("".join(shard.sha256 for shard in manifest.shards).encode()).hexdigest()
    return f"{manifest.digest}-{shards[:8]}"


def has_shard(folder: Path, shard: Shard) -> bool:
    """Whether the whole shard is there."""
    try:
        return (folder / shard.name).stat().st_size == shard.bytes
    except FileNotFoundError:
        return False


def is_held(folder: Path) -> bool:
    """Whether a living process reads the set; what dead ones have left is removed."""
    for path in folder.glob(f"{_USERS}/*.lock"):
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return True
        lock.release()
        path.unlink(missing_ok=True)
    return False


def _used_at(folder: Path) -> float:
    try:
        return (folder / _USED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.npy"))
