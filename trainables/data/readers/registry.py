"""Which reader takes which address. Free of torch and numpy."""

from typing import Protocol

from trainables.data.description import DataDescription
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet
from trainables.data.readers.npz import NpzReader
from trainables.data.readers.packaged import PackagedReader
from trainables.data.readers.prepared import PreparedReader
from trainables.data.readers.spiral import SpiralReader


class Reader(Protocol):
    """One kind of image set. Its module starts torch and numpy inside `open`, and `describe` does without torch."""

    def reads(self, uri: str) -> bool:
        """Whether an address is of this kind, by its looks, or by what a listing shows: no file is opened."""

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        """What a plan needs to know. ValueError, with rule, value and remedy: it cannot be read or does not fit."""

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        """The pixels and labels of what `describe` describes. ValueError as there."""


READERS: tuple[Reader, ...] = (
    PackagedReader(),
    SpiralReader(),
    PreparedReader(),
    NpzReader(),
)
"""The first that reads an address takes it; `NpzReader`, which reads every one, stands last."""


def reader_of(uri: str) -> Reader:
    """The reader that takes an address."""
    return next(reader for reader in READERS if reader.reads(uri))
