"""The files of a prepared set, and how one is written.

What is promised of a folder that holds `prepared-set.json`:

- It is whole and never changes: the manifest is created last, by one writer, and names every other file with its size and
  SHA-256. A folder without it is no set, whatever else lies in it.
- Files carry the start of their own hash in their name, so that a second writer cannot change one that a manifest names.
- `Shard`s are plain `.npy` of uint8 [n, H, W, C]: `numpy.load(mmap_mode="r")` maps them. Images lie in them in the source's
  order. `order` gives the row of the i-th image in canonical order (`content`), and all other indices of the program are
  canonical: labels, held-out images, draws.
- The manifest's `digest` is equal for equal images, labels and split. How the set came about leaves no trace in it.

The folder may lie on a disk or in any store that fsspec knows.
"""

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainables.data.pixel_counts import PixelCounts
from trainables.data.prepared.content import Hashes, canonical_order, content_digest, set_digest
from trainables.data.prepared.manifest import MOST_BAD_NAMED, BadFile, Manifest, Shard, SourceRecord, StoredFile
from trainables.data.prepared.settings import PrepareSettings
from trainables.storage.folder import Folder

MANIFEST = "prepared-set.json"
SHARD_BYTES = 64 * 2**20
"""About what a shard of images takes."""


def images_per_shard(shape: tuple[int, int, int], *, most_bytes: int = SHARD_BYTES) -> int:
    """Images of H x W x C bytes in a shard."""
    return max(1, most_bytes // (shape[0] * shape[1] * shape[2]))


def write_array(folder: Folder, stem: str, array: NDArray[np.generic]) -> StoredFile:
    """Write an array as `STEM-HASH.npy`, whole or not at all. OSError where it cannot be had."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    file = StoredFile(name=f"{stem}-{sha256[:8]}.npy", bytes=len(content), sha256=sha256)
    folder.put(file.name, content)
    return file


def write_shard(folder: Folder, number: int, images: NDArray[np.uint8]) -> Shard:
    """Write images [n, H, W, C] as the shard of this number."""
    file = write_array(folder, f"images-{number:05d}", images)
    return Shard(**file.model_dump(), count=len(images))


class SetContent:
    """The images of all shards by their hashes and labels: what the manifest is made of besides the shards."""

    def __init__(self, hashes: Hashes, labels: NDArray[np.int64]) -> None:
        """`hashes` [N, 32] and `labels` [N] by row, over all shards in their order."""
        self.order = canonical_order(hashes, labels)
        self.labels = labels[self.order]
        self.hashes = hashes[self.order]

    def digest(self, shape: tuple[int, int, int]) -> str:
        """The content digest of images of H, W, C."""
        return content_digest(self.hashes, self.labels, shape=shape)


def commit(
    folder: Folder,
    content: SetContent,
    *,
    shards: Sequence[Shard],
    shape: tuple[int, int, int],
    class_names: tuple[str, ...],
    heldout: NDArray[np.int64],
    split_rule: str = "",
    source: SourceRecord,
    settings: PrepareSettings,
    pixels: PixelCounts,
    bad: Sequence[BadFile] = (),
) -> Manifest:
    """Write what is beside the shards, and the manifest last; returns the one that stands, which may be another writer's.

    Args:
        shape: H, W, C of the images.
        heldout: canonical indices, rising.
        pixels: counted over all images.
        bad: every file that was left out.
    """
    digest = content.digest(shape)
    manifest = Manifest(
        source=source,
        settings=settings,
        count=len(content.labels),
        image_size=shape[0],
        channels=shape[2],
        class_names=class_names,
        class_counts=tuple(np.bincount(content.labels, minlength=len(class_names)).tolist()),
        heldout_count=len(heldout),
        train_counts=tuple(np.bincount(np.delete(content.labels, heldout), minlength=len(class_names)).tolist()),
        pixels=pixels,
        split_rule=split_rule,
        bad_count=len(bad),
        bad=tuple(bad[:MOST_BAD_NAMED]),
        content=digest,
        digest=set_digest(digest, heldout, bad_count=len(bad)),
        shards=tuple(shards),
        labels=write_array(folder, "labels", content.labels),
        order=write_array(folder, "order", content.order),
        heldout=write_array(folder, "heldout", heldout),
    )
    folder.create(MANIFEST, manifest.model_dump_json(indent=1).encode())
    standing = read_manifest(folder)
    assert standing is not None, "a manifest that was created is there"
    return standing


def read_manifest(folder: Folder) -> Manifest | None:
    """The manifest of the set in a folder; None where there is none. ValueError: damaged, or a newer program's."""
    try:
        text = folder.read(MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Manifest.parsed(text, folder.address(MANIFEST))


def check_files(folder: Folder, manifest: Manifest) -> None:
    """ValueError: a file that the manifest names is missing or has another size. None is read."""
    sizes = folder.sizes("")
    for file in manifest.files:
        if (size := sizes.get(file.name)) != file.bytes:
            raise not_whole(file, folder.address(file.name), "no file" if size is None else f"{size:,} bytes")


def not_whole(file: StoredFile, address: str, found: str) -> ValueError:
    """A set's file is `found` to be another than its manifest says, in words."""
    rule = f"a prepared set's files must be as its manifest says, {file.bytes:,} bytes of SHA-256 {file.sha256[:8]}..."
    return ValueError(f"{rule}, got {found} at {address}; delete that folder, and prepare or copy it again")
