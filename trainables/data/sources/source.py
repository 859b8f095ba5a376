"""What preparation asks of a source of images, whatever its format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainables.storage.listing import FileListing

Label = str | int
Content = bytes | NDArray[np.uint8]
"""An encoded image, or its pixels [H, W], [H, W, 1] or [H, W, 3]."""
SPLITS = ("train", "training", "test", "testing", "val", "valid", "validation")
"""Folders and files of these names are a source's own splits, and no classes."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")


class BadImage(ValueError):
    """It cannot become an image of the set; the message is the reason."""


class SourceImage(NamedTuple):
    """One image of a source, not read yet."""

    key: str
    """What people know it by: its path within the source, or file and row."""
    label: Label | None
    at: Any
    """Where its source finds it; of a kind that can be pickled."""
    split: str | None = None
    """The source's own split that it is in."""


@dataclass(frozen=True)
class SourceIndex:
    """All images of a source, in its order."""

    images: Sequence[SourceImage]
    class_names: tuple[str, ...] | None = None
    """By number, where the source names its numbers."""


class Source(Protocol):
    """An opened source."""

    def index(self, labels: str) -> SourceIndex:
        """Every image with its label, by the listing and the records beside the images; no image is decoded.

        `labels`: `auto`, `none`, or a column. ValueError, with rule, value and remedy: it is no sound source.
        """

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        """The content of some images of `index`, in their order, by what they say alone: workers have no listing.

        OSError: the storage fails.
        """


class Format(Protocol):
    """One kind of source."""

    @property
    def name(self) -> str:
        """What `format` in a sweep file calls it."""

    def takes(self, listing: FileListing, head: bytes) -> bool:
        """Whether the files are of this kind, by their names and, of a single file, its first bytes."""

    def source(self, listing: FileListing) -> Source:
        """The source that these files are. Opens nothing yet."""


def is_hidden(name: str) -> bool:
    """Files that systems leave behind: anything below a name that begins with a dot, and macOS's `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_image(name: str) -> bool:
    """By its suffix; what it really is, decoding sees."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name)


def split_of_shard(name: str) -> str | None:
    """The split that a shard's name tells, as `train-00000-of-00002.parquet` and `data/test/0.tar` do."""
    parts = name.replace("-", "/").replace("_", "/").replace(".", "/").split("/")
    return next((part for part in parts if part.lower() in SPLITS), None)
