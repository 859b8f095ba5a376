"""A zip archive of images, stored or deflated, laid out as a folder of images is."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainables.data.sources.labels import indexed
from trainables.data.sources.source import BadImage, Content, SourceImage, SourceIndex
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED = (EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a member raises where it is cut off, changed, encrypted or packed in an unknown way."""


class ZipFormat:
    """One zip archive that is no .npz."""

    name = "zip"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        if listing.is_folder or not head.startswith(_MARKS):
            return False
        try:
            names = ZipSource(listing).names()
        except ValueError:
            return False
        return not all(name.endswith(".npy") for name in names)

    def source(self, listing: FileListing) -> "ZipSource":
        return ZipSource(listing)


@dataclass(frozen=True)
class ZipSource:
    """Images by their names in the archive."""

    listing: FileListing

    @property
    def address(self) -> str:
        return self.listing.files[0].address

    def names(self) -> list[str]:
        """Every file in the archive. ValueError: it is damaged, or holds a name twice."""
        try:
            with open_file(self.address) as file, zipfile.ZipFile(file) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
        except _DAMAGED as error:
            rule = "a zip archive must be whole"
            raise ValueError(f"{rule}, got {self.address} ({error}); write or copy it again") from None
        if len(set(names)) < len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise ValueError(f"a zip archive must hold each name once, got {twice} twice in {self.address}; write it again")
        return names

    def index(self, labels: str) -> SourceIndex:
        return indexed(self.names(), self._member, labels=labels, where=self.listing.uri)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        with open_file(self.address) as file, zipfile.ZipFile(file) as archive:
            for image in images:
                try:
                    yield archive.read(image.at)
                except KeyError:
                    yield BadImage("gone since the archive was listed")
                except _DAMAGED as error:
                    yield BadImage(f"it cannot be unpacked ({error})")

    def _member(self, name: str) -> bytes:
        with open_file(self.address) as file, zipfile.ZipFile(file) as archive:
            return archive.read(name)
