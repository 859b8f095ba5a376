"""Which image has which label: from records beside the images, or from the folders that they lie in."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trainables.config.spelling import did_you_mean
from trainables.data.sources.source import SPLITS, Label, SourceImage, SourceIndex, is_hidden, is_image

RECORDS = ("dataset.json", "metadata.csv", "metadata.jsonl")
"""Beside the images, the first that is there counts: as EDM writes them, and as Hugging Face does."""
_FILE_KEYS = ("file_name", "image", "path")
_LABEL_KEYS = ("label", "labels", "class", "category", "y")
Read = Callable[[str], bytes]


def indexed(names: Sequence[str], read: Read, *, labels: str, where: str) -> SourceIndex:
    """The images among files of these names; `read` gets a record's content, `where` names the source in messages."""
    images = sorted(name for name in names if is_image(name))
    if not images:
        raise ValueError(f"a source must hold images, got {found_words(names)} in {where}; check the address or its `format`")
    records = [name for name in names if name.rpartition("/")[2] in RECORDS and not is_hidden(name)]
    if labels == "none":
        return SourceIndex([SourceImage(name, None, name, split_of(name)) for name in images])
    recorded = _recorded(records, read, labels=labels, where=where)
    if recorded is not None:
        return SourceIndex(_by_record(images, recorded, where=where))
    if labels != "auto":
        rule = f"`labels: {labels}` needs a record beside the images ({', '.join(RECORDS)})"
        raise ValueError(f"{rule}, got none in {where}; add one, or leave `labels` out")
    return SourceIndex(_by_folder(images))


def split_of(name: str) -> str | None:
    """The source's own split that a file is in, by the first part of its name."""
    first, _, rest = name.partition("/")
    return first if rest and first.lower() in SPLITS else None


def found_words(names: Iterable[str]) -> str:
    """What kinds of files there are, in words: `3 .csv, 1 .txt`."""
    counts: dict[str, int] = {}
    for name in names:
        base = name.rpartition("/")[2]
        kind = f".{base.rpartition('.')[2]}" if "." in base[1:] else "without suffix"
        counts[kind] = counts.get(kind, 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{count} {kind}" for kind, count in most) or "nothing"


def _by_folder(images: Sequence[str]) -> list[SourceImage]:
    """Labels are the folders directly below the top or a split; none where no image lies in one."""
    folders = [_folder_of(name) for name in images]
    flat = not any(folders)
    return [
        SourceImage(name, None if flat else folder, name, split_of(name)) for name, folder in zip(images, folders, strict=True)
    ]


def _folder_of(name: str) -> str | None:
    parts = name.split("/")[1 if split_of(name) else 0 :]
    return parts[0] if len(parts) > 1 else None


def _by_record(images: Sequence[str], recorded: Mapping[str, Label | None], *, where: str) -> list[SourceImage]:
    there = set(images)
    missing = [name for name in recorded if name not in there]
    if missing:
        rule = "a record of labels must name images that are there"
        raise ValueError(f"{rule}, got {missing[0]!r} ({len(missing)} of {len(recorded)}) in {where}; bring both together")
    return [SourceImage(name, recorded[name], name, split_of(name)) for name in images if name in recorded]


def _recorded(records: Sequence[str], read: Read, *, labels: str, where: str) -> dict[str, Label | None] | None:
    """The label of each image that a record names; None where there is no record with labels."""
    recorded: dict[str, Label | None] = {}
    for name in sorted(records, key=lambda name: (RECORDS.index(name.rpartition("/")[2]), name)):
        folder = name.rpartition("/")[0]
        rows = _rows(name, read(name), labels=labels, where=where)
        prefix = f"{folder}/" if folder else ""
        recorded.update({f"{prefix}{file}": label for file, label in rows.items()})
    labelled = any(label is not None for label in recorded.values())
    return recorded if recorded and (labelled or labels != "auto") else None


def _rows(name: str, content: bytes, *, labels: str, where: str) -> dict[str, Label | None]:
    try:
        text = content.decode("utf-8-sig")
        if name.endswith("dataset.json"):
            pairs = json.loads(text).get("labels") or []
            return {str(file): _as_label(label) for file, label in pairs}
        rows: Iterable[Mapping[str, Any]] = (
            csv.DictReader(io.StringIO(text))
            if name.endswith(".csv")
            else (json.loads(line) for line in text.splitlines() if line.strip())
        )
        return dict(_file_and_label(row, labels=labels, name=name, where=where) for row in rows)
    except (AttributeError, TypeError, KeyError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(f"a record of labels must be whole, got {name} in {where} ({error}); write it again") from None


def _file_and_label(row: Mapping[str, Any], *, labels: str, name: str, where: str) -> tuple[str, Label | None]:
    file = next((str(row[key]) for key in _FILE_KEYS if row.get(key)), None)
    if file is None:
        raise ValueError(
            f"a record of labels must have a column file_name, got {', '.join(row)} in {name} of {where}; name it so"
        )
    return file, _as_label(row.get(column_of(row, labels=labels, where=f"{name} of {where}")))


def column_of(columns: Iterable[str], *, labels: str, where: str) -> str:
    """The column with the labels: the one that is named, or the first usual one; empty where there is none.

    ValueError: there is no column of that name.
    """
    names = list(columns)
    if labels != "auto":
        if labels not in names:
            remedy = did_you_mean(labels, names, otherwise="name one of them")
            raise ValueError(f"`labels` must be a column, got {labels!r}; there are {', '.join(names)} in {where}; {remedy}")
        return labels
    return next((key for key in _LABEL_KEYS if key in names), "")


def _as_label(value: Any) -> Label | None:
    """Text that is a whole number is one; a list of one number is its number."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        return None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str):
        return value
    raise TypeError(f"a label must be a text or a whole number, not {value!r}")
