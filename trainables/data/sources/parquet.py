"""Parquet files of images, as Hugging Face's hub has them: a column of encoded images, and one of labels."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainables.data.sources.labels import column_of
from trainables.data.sources.source import BadImage, Content, Label, SourceImage, SourceIndex, is_hidden, split_of_shard
from trainables.storage.folder import open_file
from trainables.storage.listing import FileListing, ListedFile

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_MARK = b"PAR1"
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "image_bytes", "bytes")


class ParquetFormat:
    """One parquet file, or a folder of them."""

    name = "parquet"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return bool(_shards(listing)) if listing.is_folder else head.startswith(_MARK)

    def source(self, listing: FileListing) -> "ParquetSource":
        return ParquetSource(listing)


def _shards(listing: FileListing) -> list[ListedFile]:
    if not listing.is_folder:
        return list(listing.files)
    return [file for file in listing.files if file.name.endswith(".parquet") and not is_hidden(file.name)]


@dataclass(frozen=True)
class ParquetSource:
    """Images by file, row group and row."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        """Every row; only the column of labels is read."""
        images: list[SourceImage] = []
        names: tuple[str, ...] | None = None
        for file in _shards(self.listing):
            with _opened(file.address) as parquet:
                image = _image_column(parquet, file.address)
                column = "" if labels == "none" else column_of(_label_columns(parquet, image), labels=labels, where=file.name)
                names = _class_names(parquet, column) or names
                images += _rows(parquet, file, image=image, column=column)
        if not images:
            raise ValueError(f"a source must hold images, got parquet files without rows at {self.listing.uri}; look at them")
        return SourceIndex(images, names)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        """A row group is read once for the images of it that follow one another."""
        place, cells = None, []
        for image in images:
            address, column, group, row = image.at
            if (address, group) != place:
                place = (address, group)
                with _opened(address) as parquet:
                    cells = parquet.read_row_group(group, columns=[column]).column(0).to_pylist()
            yield _encoded(cells[row])


def _encoded(cell: Any) -> Content | BadImage:
    if isinstance(cell, dict):
        if cell.get("bytes") is None and cell.get("path"):
            return BadImage(f"its bytes are not in the file, only its path {cell['path']}")
        cell = cell.get("bytes")
    return cell if isinstance(cell, bytes) else BadImage("an empty cell")


@contextmanager
def _opened(address: str) -> Iterator["ParquetFile"]:
    """ValueError: the file is damaged."""
    import pyarrow  # here, since most sources do without
    from pyarrow.parquet import ParquetFile

    with open_file(address) as file:
        try:
            with ParquetFile(file) as parquet:
                yield parquet
        except pyarrow.ArrowException as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"a parquet file must be whole, got {address} ({reason}); write or copy it again") from None


def _image_column(parquet: "ParquetFile", address: str) -> str:
    """The column with the images: by its name, else the first of bytes. ValueError: there is none."""
    import pyarrow.types

    schema = parquet.schema_arrow
    known = [name for name in _IMAGE_COLUMNS if name in schema.names]
    for name in [*known, *schema.names]:
        kind = schema.field(name).type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return str(name)
        if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
            return str(name)
    rule = "a parquet file of images must have a column of bytes, or of {bytes, path}"
    raise ValueError(f"{rule}, got {', '.join(schema.names)} in {address}; write the encoded images into one")


def _label_columns(parquet: "ParquetFile", image: str) -> list[str]:
    return [name for name in parquet.schema_arrow.names if name != image]


def _class_names(parquet: "ParquetFile", column: str) -> tuple[str, ...] | None:
    """The names that Hugging Face's `ClassLabel` gives the numbers of a column."""
    metadata = parquet.schema_arrow.metadata or {}
    if b"huggingface" not in metadata or not column:
        return None
    feature = json.loads(metadata[b"huggingface"]).get("info", {}).get("features", {}).get(column, {})
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if names else None


def _rows(parquet: "ParquetFile", file: ListedFile, *, image: str, column: str) -> Iterator[SourceImage]:
    split, count = split_of_shard(file.name), 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        labels = parquet.read_row_group(group, columns=[column]).column(0).to_pylist() if column else [None] * rows
        for row, label in enumerate(labels):
            at = (file.address, image, group, row)
            yield SourceImage(f"{file.name}#{count}", _label(label, file, column), at, split)
            count += 1


def _label(value: Any, file: ListedFile, column: str) -> Label | None:
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"labels must be texts or whole numbers, got {value!r} in column {column} of {file.address}; name another")
