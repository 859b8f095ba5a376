"""Which format a source has: said, or found by looking."""

from trainables.config.spelling import did_you_mean
from trainables.data.file_kinds import HEAD_BYTES, kind_of
from trainables.data.sources.archive import ZipFormat
from trainables.data.sources.arrays import IdxFormat, NpzFormat
from trainables.data.sources.folder import FolderFormat
from trainables.data.sources.labels import found_words
from trainables.data.sources.parquet import ParquetFormat
from trainables.data.sources.source import Format, Source
from trainables.data.sources.tar import TarFormat
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing

FORMATS: tuple[Format, ...] = (
    ParquetFormat(),
    TarFormat(),
    IdxFormat(),
    FolderFormat(),
    ZipFormat(),
    NpzFormat(),
)
"""The first that takes a listing has it; `NpzFormat`, which takes what is left of zip archives, stands last."""


def source_of(listing: FileListing, *, format: str | None) -> tuple[str, Source]:
    """The name of a source's format, and the source. ValueError: no format takes it, or none has that name."""
    names = [each.name for each in FORMATS]
    if format is not None:
        if format not in names:
            remedy = did_you_mean(format, names, otherwise=f"try one of {', '.join(names)}")
            raise ValueError(f"`format` must be {', '.join(names)}, got {format!r}; {remedy}")
        return format, FORMATS[names.index(format)].source(listing)
    found = format_name(listing)
    if found is not None:
        return found, FORMATS[names.index(found)].source(listing)
    rule = f"a source of images must be of a known format ({', '.join(names)})"
    kind = None if listing.is_folder else kind_of(_head(listing))
    remedy = kind.remedy if kind is not None else "check the address, or say its `format`"
    raise ValueError(f"{rule}, got {_looks(listing)} at {listing.uri}; {remedy}")


def reader_of(format: str) -> Source:
    """What reads the images of a format: each says itself where it lies."""
    return next(each for each in FORMATS if each.name == format).source(FileListing("", (), is_folder=True))


def format_name(listing: FileListing) -> str | None:
    """The format that takes a listing; None where none does."""
    head = _head(listing)
    return next((each.name for each in FORMATS if each.takes(listing, head)), None)


def _head(listing: FileListing) -> bytes:
    """The first bytes of a single file; a folder's files are told by their names."""
    if listing.is_folder:
        return b""
    with open_file(listing.files[0].address) as file:
        return file.read(HEAD_BYTES)


def _looks(listing: FileListing) -> str:
    if listing.is_folder:
        return f"a folder with {found_words(file.name for file in listing.files)}"
    kind = kind_of(_head(listing))
    return kind.name if kind is not None else "a zip archive without images"
