"""Arrays of pixels, mapped: .npz files with `images` and `labels`, and MNIST's idx files, also as .gz."""

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from trainables.data.array_rules import check_images, check_label_array
from trainables.data.mapped import unpacked
from trainables.data.npz_file import npz_members
from trainables.data.sources.source import SPLITS, BadImage, Content, Label, SourceImage, SourceIndex, is_hidden
from trainables.process_caches import ProcessCache
from trainables.storage.address import local_path
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing, ListedFile, listing_of

_IDX_IMAGES, _IDX_COLOUR, _IDX_LABELS = b"\0\0\x08\x03", b"\0\0\x08\x04", b"\0\0\x08\x01"
_GZIP = b"\x1f\x8b"
_NPZ_FILES: ProcessCache[ListedFile, dict[str, NDArray[np.generic]]] = ProcessCache("npz sources", most=2)
_IDX_FILES: ProcessCache[ListedFile, NDArray[np.uint8]] = ProcessCache("idx sources", most=2)


class NpzFormat:
    """.npz files."""

    name = "npz"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return bool(_npz_files(listing)) if listing.is_folder else head.startswith(b"PK\x03\x04")

    def source(self, listing: FileListing) -> "NpzSource":
        return NpzSource(listing)


def _npz_files(listing: FileListing) -> list[ListedFile]:
    if not listing.is_folder:
        return list(listing.files)
    return [file for file in listing.files if file.name.endswith(".npz") and not is_hidden(file.name)]


@dataclass(frozen=True)
class NpzSource:
    """Images by file and place in its array. A `heldout` list is not read: the set is split anew."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        parts = [_npz_index(file, labels) for file in _npz_files(self.listing)]
        names = {part.class_names for part in parts}
        if len(names) > 1:
            rule = "files of one source must have the same `class_names`"
            raise ValueError(f"{rule}, got {len(names)} different ones in {self.listing.uri}; write them alike")
        return SourceIndex([image for part in parts for image in part.images], *names)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        for image in images:
            file, place = image.at
            yield np.asarray(_npz(file)["images"][place], dtype=np.uint8)


def _npz(file: ListedFile) -> dict[str, NDArray[np.generic]]:
    return _NPZ_FILES.get(file, make=lambda: npz_members(file.address, mapped=True))


def _npz_index(file: ListedFile, labels: str) -> SourceIndex:
    members = _npz(file)
    check_images(members["images"], file.address)
    count = len(members["images"])
    if labels == "none" or "labels" not in members:
        return SourceIndex([SourceImage(f"{file.name}#{place}", None, (file, place)) for place in range(count)])
    check_label_array(members["labels"], count, file.address)
    numbers: list[int] = members["labels"].tolist()
    names = tuple(map(str, members["class_names"].ravel())) if "class_names" in members else None
    images = [SourceImage(f"{file.name}#{place}", label, (file, place)) for place, label in enumerate(numbers)]
    return SourceIndex(images, names)


class IdxFormat:
    """An idx file of images with its file of labels beside it, or a folder of such pairs."""

    name = "idx"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        if listing.is_folder:
            return bool(_idx_images(listing))
        return head.startswith((_IDX_IMAGES, _IDX_COLOUR)) or (head.startswith(_GZIP) and "idx" in listing.files[0].name)

    def source(self, listing: FileListing) -> "IdxSource":
        return IdxSource(listing)


def _idx_images(listing: FileListing) -> list[ListedFile]:
    if not listing.is_folder:
        return list(listing.files)
    marks = ("images-idx", "images.idx")
    return [file for file in listing.files if any(mark in file.name for mark in marks) and not is_hidden(file.name)]


@dataclass(frozen=True)
class IdxSource:
    """Images by file and place."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        images: list[SourceImage] = []
        for file in _idx_images(self.listing):
            count = len(_idx_pixels(file))
            numbers: Sequence[Label | None] = [None] * count
            if labels != "none" and (beside := self._labels_of(file)):
                numbers = _idx(beside.address, "labels").tolist()
                if len(numbers) != count:
                    rule = f"a file of labels must have one for each of {count} images"
                    raise ValueError(f"{rule}, got {len(numbers)} in {beside.address}; bring the pair that belongs together")
            split = next((split for split in SPLITS if file.name.rpartition("/")[2].startswith(split)), None)
            images += [SourceImage(f"{file.name}#{place}", label, (file, place), split) for place, label in enumerate(numbers)]
        return SourceIndex(images)

    def _labels_of(self, file: ListedFile) -> ListedFile | None:
        """The labels of a file of images, where there are any."""
        folder, _, name = file.address.rpartition("/")
        beside = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
        if beside == name:
            return None
        try:
            (found,) = listing_of(f"{folder}/{beside}").files
        except FileNotFoundError:
            return None
        return found

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        for image in images:
            file, place = image.at
            yield _idx_pixels(file)[place]


def _idx_pixels(file: ListedFile) -> NDArray[np.uint8]:
    return _IDX_FILES.get(file, make=lambda: _idx(file.address, "images"))


def _idx(address: str, what: str) -> NDArray[np.uint8]:
    """An idx file's array of bytes, mapped. ValueError: it is damaged, or of another kind."""
    with _unpacked(address) as file:
        marks = (_IDX_LABELS,) if what == "labels" else (_IDX_IMAGES, _IDX_COLOUR)
        mark = file.read(4)
        if mark not in marks:
            rule = (
                f"an idx file of {what} must be of unsigned bytes (it begins with {' or '.join(mark.hex() for mark in marks)})"
            )
            raise ValueError(f"{rule}, got {mark.hex()} at {address}; look at the file")
        shape = struct.unpack(f">{mark[3]}I", file.read(4 * mark[3]))
        start = file.tell()
        if (size := file.seek(0, 2) - start) != np.prod(shape):
            raise ValueError(f"an idx file must be whole, got {size:,} bytes for {shape} at {address}; copy it again")
        return np.memmap(file, np.uint8, "r", offset=start, shape=shape)


@contextmanager
def _unpacked(address: str) -> Iterator[IO[bytes]]:
    """An idx file on a disk: itself, or a temporary one with what is packed, or lies in a store. ValueError: it is damaged."""
    with open_file(address) as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        if not is_packed and local_path(address) is not None:
            yield file
            return
        try:
            with unpacked(gzip.GzipFile(fileobj=file) if is_packed else file) as found:
                yield found
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"an idx file must be whole, got {address} ({error}); write or copy it again") from None
