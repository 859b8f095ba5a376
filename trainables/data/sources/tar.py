"""Tar archives of images as WebDataset lays them out: `KEY.jpg` beside `KEY.cls` or `KEY.json`."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, Any

from trainables.data.mapped import unpacked
from trainables.data.sources.labels import column_of
from trainables.data.sources.source import (
    BadImage,
    Content,
    Label,
    SourceImage,
    SourceIndex,
    is_hidden,
    is_image,
    split_of_shard,
)
from trainables.process_caches import ProcessCache
from trainables.storage.address import local_path
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing, ListedFile

_MARK_AT = 257
_KEPT_BYTES, _KEPT_FILES = 2 * 2**30, 64
"""Archives of a store that are fewer and smaller together are copied to temporary files while they are listed, so that the
process which decodes them need not fetch them again."""
_COPIES: ProcessCache[ListedFile, IO[bytes]] = ProcessCache("tar archives")


class TarFormat:
    """One tar archive, or several."""

    name = "tar"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return bool(_shards(listing)) if listing.is_folder else head[_MARK_AT:].startswith(b"ustar")

    def source(self, listing: FileListing) -> "TarSource":
        return TarSource(listing)


def _shards(listing: FileListing) -> list[ListedFile]:
    if not listing.is_folder:
        return list(listing.files)
    return [file for file in listing.files if file.name.endswith(".tar") and not is_hidden(file.name)]


@dataclass
class _Sample:
    """The members of one key."""

    image: tarfile.TarInfo | None = None
    records: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class TarSource:
    """Images by archive, offset and size."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        """Every image; the archives are gone through, since a tar has no table of contents."""
        files = _shards(self.listing)
        kept = len(files) <= _KEPT_FILES and sum(file.size for file in files) < _KEPT_BYTES
        if not all(file in _COPIES for file in files):
            _COPIES.clear()
        images = [image for file in files for image in _images(file, labels=labels, kept=kept)]
        if not images:
            raise ValueError(f"a source must hold images, got tar archives without any at {self.listing.uri}; look at them")
        return SourceIndex(images)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        for file, some in groupby(images, key=lambda image: image.at[0]):
            with _archive(file, kept=False) as content:
                yield from (_content(content, image.at) for image in some)


@contextmanager
def _archive(file: ListedFile, *, kept: bool) -> Iterator[IO[bytes]]:
    """An archive to read from: where it lies, or this process's copy, which is made where it is to be `kept`."""
    if local_path(file.address) is None and (kept or file in _COPIES):
        copy = _COPIES.get(file, make=lambda: _copy(file))
        copy.seek(0)
        yield copy
        return
    with open_file(file.address) as content:
        yield content


def _copy(file: ListedFile) -> IO[bytes]:
    with open_file(file.address) as content:
        return unpacked(content)


def _content(file: IO[bytes], at: tuple[ListedFile, int, int]) -> Content | BadImage:
    _, offset, size = at
    file.seek(offset)
    content = file.read(size)
    return content if len(content) == size else BadImage(f"the archive ends {size - len(content)} bytes too soon")


def _images(file: ListedFile, *, labels: str, kept: bool) -> Iterator[SourceImage]:
    split = split_of_shard(file.name)
    for key, sample in _samples(file, labels=labels, kept=kept).items():
        if sample.image is not None:
            at = (file, sample.image.offset_data, sample.image.size)
            label = _label(sample.records, labels, f"{key} of {file.address}")
            yield SourceImage(f"{file.name}/{sample.image.name}", label, at, split)


def _samples(file: ListedFile, *, labels: str, kept: bool) -> dict[str, _Sample]:
    """The samples of one archive by key, in its order. ValueError: it is damaged."""
    samples: dict[str, _Sample] = {}
    try:
        with _archive(file, kept=kept) as content, tarfile.open(fileobj=content, mode="r:") as archive:
            for member in archive:
                if not member.isfile() or is_hidden(member.name):
                    continue
                key, suffix = _key_and_suffix(member.name)
                sample = samples.setdefault(key, _Sample())
                if is_image(member.name):
                    if sample.image is not None:
                        raise ValueError(
                            f"a tar archive must hold one image a key, got two of {key} in {file.address}; rename one"
                        )
                    sample.image = member
                elif labels != "none" and suffix in ("cls", "json"):
                    sample.records[suffix] = (archive.extractfile(member) or content).read()
            _check_end(content, archive.offset, file.address)
    except tarfile.TarError as error:
        raise ValueError(f"a tar archive must be whole, got {file.address} ({error}); write or copy it again") from None
    return samples


def _check_end(content: IO[bytes], offset: int, address: str) -> None:
    """ValueError: no block of zeros ends the archive, so that it was cut off, be it between two members."""
    content.seek(offset)
    if content.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        rule = "a tar archive must be whole"
        raise ValueError(f"{rule}, got {address}, which ends without an end mark; write or copy it again")


def _key_and_suffix(name: str) -> tuple[str, str]:
    """WebDataset parts a name at the first dot of its last part."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()


def _label(records: dict[str, bytes], labels: str, where: str) -> Label | None:
    if labels == "none":
        return None
    if labels in ("auto", "cls") and "cls" in records:
        return records["cls"].decode("utf-8", "replace").strip()
    if "json" in records:
        try:
            row: dict[str, Any] = dict(json.loads(records["json"]))
        except (ValueError, TypeError) as error:
            raise ValueError(f"a record of labels must be JSON, got the .json of {where} ({error}); write it again") from None
        value = row.get(column_of(row, labels=labels, where=where))
        if value is None or isinstance(value, str | int):
            return value
        raise ValueError(f"labels must be texts or whole numbers, got {value!r} in {where}; name another key")
    return None
