"""One shard of a prepared set, made of its part of the source: the unit of work of any number of processes."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.config.fields import Frozen
from trainables.data.pixel_counts import PixelCounts
from trainables.data.prepared.content import Hashes, pixel_hashes
from trainables.data.prepared.layout import write_shard
from trainables.data.prepared.manifest import BadFile, Shard
from trainables.data.prepared.settings import PrepareSettings
from trainables.data.sources.decoding import decoded
from trainables.data.sources.registry import reader_of
from trainables.data.sources.source import BadImage, Content, SourceImage
from trainables.data.thumbnails import SHIFTS, Thumbnails
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class ShardWork:
    """What a worker needs to make one shard. It can be pickled."""

    number: int
    format: str
    images: Sequence[SourceImage]
    labels: NDArray[np.int64]
    settings: PrepareSettings
    """With the size that images are to have."""
    out: str
    """Address of the prepared set."""
    record: str
    """Name of the record that is written once the shard is."""


class ShardRecord(Frozen):
    """A shard that is done."""

    number: int
    shard: Shard | None
    """None where every image of its part is bad."""
    hashes: str
    """The images' hashes, base64."""
    thumbnails: str
    """What near-duplicates are found by, base64: the values of all images."""
    contrasts: tuple[int, ...]
    """Those of the thumbnails."""
    labels: tuple[int, ...]
    splits: tuple[str | None, ...]
    pixels: PixelCounts = PixelCounts()
    bad: tuple[BadFile, ...]

    def image_hashes(self) -> Hashes:
        """[n, 32], by row of the shard."""
        return np.frombuffer(base64.b64decode(self.hashes), dtype=np.uint8).reshape(-1, 32)

    def image_thumbnails(self) -> Thumbnails:
        """By row of the shard."""
        values = np.frombuffer(base64.b64decode(self.thumbnails), dtype=np.int8)
        shape = (len(self.contrasts), len(SHIFTS), -1)
        return Thumbnails(values.reshape(shape), np.array(self.contrasts, dtype=np.uint16))


def make_shard(work: ShardWork) -> ShardRecord:
    """Read, decode and write one shard, and then its record. OSError: the source's or the set's storage fails."""
    images: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    bad: list[BadFile] = []
    for place, content in enumerate(reader_of(work.format).read(work.images)):
        try:
            images.append(_pixels(content, work.settings))
            kept.append(place)
        except BadImage as error:
            bad.append(BadFile(key=work.images[place].key, reason=str(error)))
    record = ShardRecord(
        number=work.number,
        **_facts(np.stack(images), work) if images else _NOTHING,
        labels=tuple(work.labels[kept].tolist()),
        splits=tuple(work.images[place].split for place in kept),
        bad=tuple(bad),
    )
    Folder(work.out).put(work.record, record.model_dump_json().encode())
    return record


_NOTHING: dict[str, Any] = {"shard": None, "hashes": "", "thumbnails": "", "contrasts": ()}


def _facts(images: NDArray[np.uint8], work: ShardWork) -> dict[str, Any]:
    """Write the images of a shard; what its record says of them."""
    thumbnails = Thumbnails.of(images)
    return {
        "shard": write_shard(Folder(work.out), work.number, images),
        "hashes": base64.b64encode(pixel_hashes(images).tobytes()).decode(),
        "thumbnails": base64.b64encode(thumbnails.values.tobytes()).decode(),
        "contrasts": tuple(thumbnails.contrasts.tolist()),
        "pixels": PixelCounts.of(images),
    }


def _pixels(content: Content | BadImage, settings: PrepareSettings) -> NDArray[np.uint8]:
    if isinstance(content, BadImage):
        raise content
    return decoded(content, settings)
