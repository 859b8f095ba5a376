"""Zip archives of images, stored or deflated, laid out as a folder of images is."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from trainables.data.sources.labels import indexed
from trainables.data.sources.source import BadImage, Content, SourceImage, SourceIndex, is_hidden
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing, ListedFile

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED = (EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a member raises where it is cut off, changed, encrypted or packed in an unknown way."""


class ZipFormat:
    """Zip archives that are no .npz."""

    name = "zip"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        if listing.is_folder:
            return bool(_archives(listing))
        if not head.startswith(_MARKS):
            return False
        try:
            names = names_in(listing.files[0].address)
        except ValueError:
            return not listing.files[0].name.endswith(".npz")  # it says what is wrong where its images are listed
        return not all(name.endswith(".npy") for name in names)

    def source(self, listing: FileListing) -> "ZipSource":
        return ZipSource(listing)


def _archives(listing: FileListing) -> list[ListedFile]:
    if not listing.is_folder:
        return list(listing.files)
    return [file for file in listing.files if file.name.endswith(".zip") and not is_hidden(file.name)]


def names_in(address: str) -> list[str]:
    """Every file in an archive. ValueError: it is damaged, or holds a name twice."""
    try:
        with open_file(address) as file, zipfile.ZipFile(file) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except _DAMAGED as error:
        rule = "a zip archive must be whole"
        raise ValueError(f"{rule}, got {address} ({error}); write or copy it again") from None
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"a zip archive must hold each name once, got {twice[0]} twice in {address}; write it again")
    return names


@dataclass(frozen=True)
class ZipSource:
    """Images by archive and name. Each archive is labelled by itself, by its folders or records."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        files = _archives(self.listing)
        found = [image for file in files for image in _images(file, labels=labels, alone=len(files) == 1)]
        return SourceIndex(found)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        for address, some in groupby(images, key=lambda image: image.at[0]):
            with open_file(address) as file, zipfile.ZipFile(file) as archive:
                for image in some:
                    yield _content(archive, image.at[1])


def _images(file: ListedFile, *, labels: str, alone: bool) -> Iterator[SourceImage]:
    for image in indexed(names_in(file.address), partial(_member, file.address), labels=labels, where=file.address).images:
        yield image._replace(at=(file.address, image.at), key=image.key if alone else f"{file.name}/{image.key}")


def _member(address: str, name: str) -> bytes:
    with open_file(address) as file, zipfile.ZipFile(file) as archive:
        return archive.read(name)


def _content(archive: zipfile.ZipFile, name: str) -> Content | BadImage:
    try:
        return archive.read(name)
    except KeyError:
        return BadImage("gone since the archive was listed")
    except _DAMAGED as error:
        return BadImage(f"it cannot be unpacked ({error})")
