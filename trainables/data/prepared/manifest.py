"""A prepared set's manifest: the record that is written last, and says all but the pixels. Free of torch and numpy."""

import json
from typing import Any, Self

from pydantic import ValidationError

from trainables.config.fields import Frozen, NonNegativeInt, PositiveInt, counted
from trainables.data.description import DataDescription
from trainables.data.pixel_counts import PixelCounts, class_warnings
from trainables.data.prepared.settings import PrepareSettings

SCHEMA_VERSION = 1
"""Raised where a reader of before would misread a set of now."""
MOST_BAD_NAMED = 10


class StoredFile(Frozen):
    """A file of the set, as it must be found again."""

    name: str
    bytes: NonNegativeInt
    sha256: str
    """64 hex digits of its whole content."""


class Shard(StoredFile):
    """An `.npy` file of uint8 [count, H, W, C], C order: numpy memory-maps it, and row i begins at a fixed offset."""

    count: PositiveInt


class SourceRecord(Frozen):
    """What the set was made from."""

    uri: str
    """Without password."""
    format: str
    identity: str
    """Hash of the source's listing: names, sizes and versions of its files."""
    names: str = ""
    """Hash of the files' names alone; empty where an earlier version wrote it."""
    files: NonNegativeInt
    bytes: NonNegativeInt

    def __str__(self) -> str:
        return f"{counted(self.files, 'file')} of {self.bytes:,} bytes"

    def change_to(self, now: "SourceRecord") -> str:
        """What has changed of the source since: `25 files of 4,021 bytes now, 24 files of 3,950 bytes then`."""
        if (now.files, now.bytes) != (self.files, self.bytes):
            return f"{now} now, {self} then"
        if self.names in ("", now.names):
            return f"{now} now as then, with other times of change or versions"
        return f"{now} now as then, with other names"


class BadFile(Frozen):
    """What could not be decoded, and why."""

    key: str
    reason: str


class Manifest(Frozen):
    """All there is to know about a prepared set without its pixels."""

    schema_version: PositiveInt = SCHEMA_VERSION
    source: SourceRecord
    settings: PrepareSettings
    count: PositiveInt
    """Images of both splits."""
    image_size: PositiveInt
    channels: PositiveInt
    class_names: tuple[str, ...]
    class_counts: tuple[NonNegativeInt, ...]
    """Images of each class, of both splits."""
    heldout_count: NonNegativeInt
    train_counts: tuple[NonNegativeInt, ...] | None = None
    """Training images of each class; None: an earlier version did not count them, nor `pixels`."""
    pixels: PixelCounts = PixelCounts()
    split_rule: str = ""
    """How the held-out images were chosen; the same text, the same choice."""
    bad_count: NonNegativeInt = 0
    bad: tuple[BadFile, ...] = ()
    """The first `MOST_BAD_NAMED` of them."""
    content: str
    """64 hex digits over all images with their labels, in canonical order: `content.content_digest`."""
    digest: str
    """16 hex digits over `content`, the held-out images and `bad_count`: the set's fingerprint, by which trials are known."""
    shards: tuple[Shard, ...]
    labels: StoredFile
    """int64 [count], in canonical order."""
    order: StoredFile
    """int64 [count]: the row, over all shards in their order, of each image in canonical order."""
    heldout: StoredFile
    """int64 [heldout_count]: canonical indices, rising."""

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Every file but the manifest itself."""
        return (*self.shards, self.labels, self.order, self.heldout)

    def description(self, uri: str) -> DataDescription:
        """The facts that a plan needs, under the address that the set was asked for by."""
        return DataDescription(
            uri=uri,
            digest=self.digest,
            image_size=self.image_size,
            channels=self.channels,
            num_classes=len(self.class_names),
            class_names=self.class_names,
            train_count=self.count - self.heldout_count,
            heldout_count=self.heldout_count,
            warnings=tuple(self.warnings()),
        )

    def warnings(self) -> list[str]:
        """A line for each thing about the images that is probably a mistake."""
        left = self.train_counts if self.train_counts is not None else self.class_counts
        return [*self.pixels.warnings(), *class_warnings(self.class_names, counts=self.class_counts, train_counts=left)]

    @classmethod
    def parsed(cls, text: bytes, address: str) -> Self:
        """The manifest in a file's content. ValueError: a newer program wrote it, or it is damaged."""
        rule = "a prepared set's manifest must be whole"
        try:
            content: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{rule}, got {len(text)} bytes that are no JSON at {address} ({error}); {_ANEW}") from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            rule = f"a prepared set must be of schema version {SCHEMA_VERSION} or older"
            raise ValueError(f"{rule}, got {version} at {address}; use the newer program, or prepare it again with this one")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ValueError(f"{rule}, got a wrong {where} ({first['msg']}) at {address}; {_ANEW}") from None


_ANEW = "delete that folder, and prepare it again"
