"""Arrays of pixels: .npz files with `images` and `labels`, and MNIST's idx files, also as .gz."""

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.data.array_rules import check_images, check_label_array
from trainables.data.npz_file import npz_members
from trainables.data.sources.source import SPLITS, BadImage, Content, Label, SourceImage, SourceIndex, is_hidden
from trainables.storage.folder import read_file
from trainables.storage.listing import FileListing, ListedFile

_IDX_IMAGES, _IDX_COLOUR, _IDX_LABELS = b"\0\0\x08\x03", b"\0\0\x08\x04", b"\0\0\x08\x01"
_GZIP = b"\x1f\x8b"


class NpzFormat:
    """One .npz file, read whole."""

    name = "npz"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return not listing.is_folder and head.startswith(b"PK\x03\x04")

    def source(self, listing: FileListing) -> "NpzSource":
        return NpzSource(listing)


@dataclass(frozen=True)
class NpzSource:
    """Images by their places in the array. A `heldout` list is not read: the set is split anew."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        members = npz_members(self.listing.uri)
        if "images" in members:
            check_images(members["images"], self.listing.uri)
        count = len(members["images"])
        if labels == "none" or "labels" not in members:
            return SourceIndex([SourceImage(f"image {place}", None, place) for place in range(count)])
        check_label_array(members["labels"], count, self.listing.uri)
        numbers: list[int] = members["labels"].tolist()
        names = tuple(map(str, members["class_names"].ravel())) if "class_names" in members else None
        return SourceIndex([SourceImage(f"image {place}", label, place) for place, label in enumerate(numbers)], names)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        pixels = npz_members(self.listing.uri)["images"]
        yield from (np.asarray(pixels[image.at], dtype=np.uint8) for image in images)


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
            count = len(_idx(file.address, "images"))
            numbers: Sequence[Label | None] = [None] * count
            if labels != "none" and (beside := self._labels_of(file)):
                numbers = _idx(beside, "labels").tolist()
                if len(numbers) != count:
                    rule = f"a file of labels must have one for each of {count} images"
                    raise ValueError(f"{rule}, got {len(numbers)} in {beside}; bring the pair that belongs together")
            split = next((split for split in SPLITS if file.name.rpartition("/")[2].startswith(split)), None)
            images += [
                SourceImage(f"{file.name}#{place}", label, (file.address, place), split) for place, label in enumerate(numbers)
            ]
        return SourceIndex(images)

    def _labels_of(self, file: ListedFile) -> str | None:
        """The address of the labels of a file of images, where there are any."""
        folder, _, name = file.address.rpartition("/")
        beside = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
        address = f"{folder}/{beside}"
        if self.listing.is_folder:
            return address if address in {each.address for each in self.listing.files} else None
        if beside == name:
            return None
        try:
            read_file(address)
        except FileNotFoundError:
            return None
        return address

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        address, pixels = "", np.empty(0, dtype=np.uint8)
        for image in images:
            if image.at[0] != address:
                address = image.at[0]
                pixels = _idx(address, "images")
            yield pixels[image.at[1]]


def _idx(address: str, what: str) -> NDArray[np.uint8]:
    """An idx file's array of bytes. ValueError: it is damaged, or of another kind."""
    content = read_file(address)
    try:
        content = gzip.decompress(content) if content.startswith(_GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"an idx file must be whole, got {address} ({error}); write or copy it again") from None
    marks = (_IDX_LABELS,) if what == "labels" else (_IDX_IMAGES, _IDX_COLOUR)
    if not content.startswith(marks):
        rule = f"an idx file of {what} must be of unsigned bytes (it begins with {' or '.join(mark.hex() for mark in marks)})"
        raise ValueError(f"{rule}, got {content[:4].hex()} at {address}; look at the file")
    dims = content[3]
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    pixels = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dims)
    if len(pixels) != np.prod(shape):
        raise ValueError(f"an idx file must be whole, got {len(pixels):,} bytes for {shape} at {address}; copy it again")
    return pixels.reshape(shape)
