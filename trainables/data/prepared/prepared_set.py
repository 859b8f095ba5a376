"""A prepared set's pixels and labels, by canonical index, wherever its shards lie."""

import functools
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainables.data.prepared.arriving import ArrivingShards
from trainables.data.prepared.layout import not_whole, read_manifest
from trainables.data.prepared.manifest import Manifest, Shard, StoredFile
from trainables.data.prepared.node_cache import node_cache
from trainables.storage.address import local_path
from trainables.storage.folder import Folder

Indices = NDArray[np.int64]


class Rows(Protocol):
    """The pixels [count, H, W, C] of a shard: mapped, in memory, or wherever they can be read row by row."""

    def __getitem__(self, row: int, /) -> NDArray[np.uint8]: ...


ShardPixels = Callable[[Shard], Rows]
"""Asked for at a shard's first use, and kept."""


@dataclass(frozen=True, eq=False)
class PreparedSet:
    """A whole set: what `manifest` says, with its pixels at hand. Every index is canonical."""

    manifest: Manifest
    labels: NDArray[np.int64]
    """[N], in 0..len(class_names) - 1."""
    heldout: Indices
    """[K], rising."""
    order: NDArray[np.int64]
    """[N]: the row of each image, over all shards in their order."""
    shard_pixels: ShardPixels

    @property
    def count(self) -> int:
        """Images of both splits."""
        return self.manifest.count

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.manifest.image_size, self.manifest.image_size, self.manifest.channels

    def gather(self, indices: Indices) -> NDArray[np.uint8]:
        """Images as uint8 [B, H, W, C], in the given order. OSError, ValueError: a shard cannot be had, or is not whole."""
        rows = self.order[indices]
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        images = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for place, (number, row) in enumerate(zip(numbers.tolist(), (rows - self._starts[numbers]).tolist(), strict=True)):
            images[place] = self._pixels(number)[row]  # one copy, straight from the map
        return images

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The first row of each shard."""
        return np.cumsum([0, *(shard.count for shard in self.manifest.shards)])[:-1]

    @functools.cached_property
    def _kept(self) -> dict[int, Rows]:
        return {}

    def _pixels(self, number: int) -> Rows:
        if number not in self._kept:
            self._kept[number] = self.shard_pixels(self.manifest.shards[number])
        return self._kept[number]


def open_prepared(address: str) -> PreparedSet:
    """The set at a path or URI: mapped where it lies on a disk, else from the node's copy of it.

    ValueError, with rule, value and remedy: there is no whole set. OSError: it cannot be reached.
    """
    folder = Folder(address)
    manifest = read_manifest(folder)
    if manifest is None:
        rule = "a prepared set must have its prepared-set.json, which is written last"
        raise ValueError(f"{rule}, got none at {address}; prepare it to its end, or check the address")
    path = local_path(address)
    return open_with(manifest, folder, shard_pixels=_arriving(manifest, folder) if path is None else _mapped(path))


def open_with(manifest: Manifest, folder: Folder, *, shard_pixels: ShardPixels) -> PreparedSet:
    """A set with its small arrays read from a folder, and its pixels from where `shard_pixels` has them."""
    labels, order, heldout = (fetch_array(folder, file) for file in (manifest.labels, manifest.order, manifest.heldout))
    return PreparedSet(manifest, labels=labels, heldout=heldout, order=order, shard_pixels=shard_pixels)


def fetch_array(folder: Folder, file: StoredFile) -> NDArray[np.int64]:
    """An array read whole, its size and hash checked. ValueError: it is missing, or not what the manifest says."""
    array: NDArray[np.int64] = np.load(io.BytesIO(checked_content(folder, file)), allow_pickle=False)
    return array


def checked_content(folder: Folder, file: StoredFile) -> bytes:
    """A file's content, its size and hash checked. ValueError: it is missing, or not what the manifest says."""
    try:
        content = folder.read(file.name)
    except FileNotFoundError:
        raise not_whole(file, folder.address(file.name), "no file") from None
    if len(content) != file.bytes:
        raise not_whole(file, folder.address(file.name), f"{len(content):,} bytes")
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise not_whole(file, folder.address(file.name), f"other content (SHA-256 {found[:8]}...)")
    return content


def _arriving(manifest: Manifest, folder: Folder) -> ShardPixels:
    return ArrivingShards(
        manifest,
        folder,
        cache=node_cache(),
        content=checked_content,
        mapped=lambda held, shard: map_shard(held.folder / shard.name, shard),
    )


def _mapped(path: Path) -> ShardPixels:
    def pixels(shard: Shard) -> NDArray[np.uint8]:
        return map_shard(path / shard.name, shard)

    return pixels


def map_shard(path: Path, shard: Shard) -> NDArray[np.uint8]:
    """A shard on a disk, memory-mapped. ValueError: it is missing, or has another size than its manifest says."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise not_whole(shard, str(path), "no file") from None
    if size != shard.bytes:
        raise not_whole(shard, str(path), f"{size:,} bytes")
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # rows of a np.memmap are slow to take
