"""The pixels of a set in a store while its shards arrive at the node: from the node's copy as soon as it has them."""

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.data.prepared.manifest import Manifest, Shard
from trainables.data.prepared.node_cache import HeldSet, NodeCache, has_shard
from trainables.storage.folder import Folder

_log = logging.getLogger(__name__)


class ArrivingShards:
    """Shards by their record. A thread fetches all of them; what is wanted sooner is read row by row.

    Rows that are read so are checked with their whole shard, once that is here: `failed` is then raised instead of rows.
    """

    def __init__(
        self,
        manifest: Manifest,
        folder: Folder,
        *,
        cache: NodeCache,
        content: Callable[[Folder, Shard], bytes],
        mapped: Callable[[HeldSet, Shard], NDArray[np.uint8]],
    ) -> None:
        """`content` reads a shard whole and checked; `mapped` maps one that is here. CacheFull: the disk is too small."""
        self.held = cache.hold(manifest)
        self._folder, self._content, self._mapped = folder, content, mapped
        self.shape = (manifest.image_size, manifest.image_size, manifest.channels)
        self.failed: ValueError | None = None
        self._shards, self._maps = manifest.shards, dict[str, NDArray[np.uint8]]()
        self._fetching = self._begun()

    def __call__(self, shard: Shard) -> "ArrivingShard":
        return ArrivingShard(self, shard)

    def fetch(self, shard: Shard, *, wait: bool) -> bool:
        """Have a shard here; False where another process is about it."""
        return self.held.fetch(shard, lambda: self._content(self._folder, shard), wait=wait)

    def row(self, shard: Shard, row: int) -> NDArray[np.uint8]:
        """The image [H, W, C] at this row of a shard. ValueError, OSError: the shard cannot be had, or is not whole."""
        if shard.name not in self._maps and has_shard(self.held.folder, shard):
            self._maps[shard.name] = self._mapped(self.held, shard)
        if shard.name in self._maps:
            return np.asarray(self._maps[shard.name][row])
        if self.failed is not None:
            raise self.failed
        if not self._fetching.is_alive():  # an outage has ended it
            self._fetching = self._begun()
        size = int(np.prod(self.shape))
        start = shard.bytes - (shard.count - row) * size
        content = self._folder.read_part(shard.name, start=start, end=start + size)
        return np.frombuffer(content, dtype=np.uint8).reshape(self.shape)

    def _begun(self) -> threading.Thread:
        thread = threading.Thread(target=_fetch_all, args=(weakref.ref(self), self._shards), daemon=True, name="shards")
        thread.start()
        return thread


@dataclass(frozen=True)
class ArrivingShard:
    """One shard's images, by row."""

    shards: ArrivingShards
    shard: Shard

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        return self.shards.row(self.shard, row)


def _fetch_all(owner: "weakref.ref[ArrivingShards]", shards: tuple[Shard, ...]) -> None:
    """Every shard that no other process is fetching, and then those, until nobody reads the set any more."""
    for wait in (False, True):
        for shard in shards:
            arriving = owner()
            if arriving is None:
                return
            try:
                arriving.fetch(shard, wait=wait)
            except OSError as error:
                _log.warning("images are read one by one for now: %s", error)
                return
            except ValueError as error:
                arriving.failed = error
                return
            del arriving
