"""Which files lie at an address: by name, size and version, none of them opened."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from trainables.storage.address import Addresses, in_words, local_path
from trainables.storage.folder import file_system_of
from trainables.storage.remote import Remote

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_WILD = re.compile(r"[*?\[]")
MOST_BESIDE = 1000
"""Files whose names are looked at for one that was meant."""
_VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")
"""What file systems call that which changes with a file's content; the first one known counts."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of a listing."""

    name: str
    """Within the listing, with `/` between its parts."""
    address: str
    size: int
    """Bytes."""
    version: str
    """Changes where the content does: an object's ETag, or the time of a file's last change."""


@dataclass(frozen=True)
class FileListing:
    """The files at an address, by name."""

    uri: str
    """Where they lie, in words."""
    files: tuple[ListedFile, ...]
    is_folder: bool

    @property
    def identity(self) -> str:
        """16 hex digits over every file's name, size and version."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\0{file.version}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def names(self) -> str:
        """16 hex digits over the names alone."""
        return hashlib.sha256("\n".join(file.name for file in self.files).encode()).hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def listing_of(address: Addresses) -> FileListing:
    """The file at an address, or the files below it; of several, of braces (`{00..07}`, `{a,b}`) and of a glob, all of theirs.

    A path that exists is taken as it is. FileNotFoundError: nothing is there. OSError: it cannot be had. ValueError,
    ImportError: it is no address.
    """
    given = (address,) if isinstance(address, str) else address
    addresses = [each for one in given for each in ([one] if _exists(one) else _expanded(one))]
    if len(addresses) > 1 or (not _exists(addresses[0]) and _WILD.search(addresses[0])):
        files = {file.address: file for each in addresses for file in _matches(each)}
        return FileListing(in_words(address), _below_one_folder(list(files.values())), is_folder=True)
    return _at(addresses[0])


def names_beside(path: Path) -> list[str]:
    """Names in a path's folder, of which one may have been meant; none where it cannot be listed."""
    with suppress(OSError):
        return [each.name for each in islice(path.parent.iterdir(), MOST_BESIDE)]
    return []


def is_pattern(uri: str) -> bool:
    """Whether an address stands for others, by braces or a glob, and for nothing that has its name."""
    return not _exists(uri) and bool(_WILD.search(uri) or _BRACES.search(uri))


def _at(uri: str) -> FileListing:
    """What is at one address that is no pattern."""
    path = local_path(uri)
    if path is None:
        return _remote(uri)
    if not path.exists():
        raise FileNotFoundError(f"nothing at {uri}")
    if not path.is_dir():
        return FileListing(uri, (_local_file(path.name, path),), is_folder=False)
    return FileListing(uri, tuple(sorted(_walked(path), key=lambda file: file.name)), is_folder=True)


def _exists(uri: str) -> bool:
    path = local_path(uri)
    return path is not None and path.exists()


def _below_one_folder(files: list[ListedFile]) -> tuple[ListedFile, ...]:
    """The files by their names below the deepest folder that holds all of them."""
    folders = [file.address.split("/")[:-1] for file in files]
    least, most = min(folders), max(folders)
    shared = next((at for at, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    named = [replace(file, name="/".join(file.address.split("/")[shared:])) for file in files]
    return tuple(sorted(named, key=lambda file: file.name))


def _walked(top: Path) -> Iterator[ListedFile]:
    """OSError where a folder cannot be read: its files must not be missing in silence."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(top, onerror=refuse, followlinks=True):
        relative = Path(folder).relative_to(top).as_posix()
        for name in names:
            path = Path(folder, name)
            if path.exists():  # a dangling link is no file
                yield _local_file(name if relative == "." else f"{relative}/{name}", path)


def _local_file(name: str, path: Path) -> ListedFile:
    status = path.stat()
    return ListedFile(name, str(path), status.st_size, str(status.st_mtime_ns))


def _expanded(uri: str) -> Iterator[str]:
    """Every address that braces stand for, the first braces varying slowest."""
    match = _BRACES.search(uri)
    if match is None:
        yield uri
        return
    for part in _alternatives(match[1]):
        yield from _expanded(f"{uri[: match.start()]}{part}{uri[match.end() :]}")


def _alternatives(text: str) -> Iterable[str]:
    if span := _RANGE.fullmatch(text):
        return (f"{number:0{len(span[1])}d}" for number in range(int(span[1]), int(span[2]) + 1))
    return text.split(",")


def _matches(address: str) -> list[ListedFile]:
    """The files at an address or below it, or those that a glob names. FileNotFoundError: none."""
    if _exists(address) or not _WILD.search(address):
        return list(_at(address).files)
    fs, pattern = file_system_of(address)
    if isinstance(fs, LocalFileSystem):
        found = [file for path in fs.glob(pattern) for file in _at(str(path)).files]
    else:
        entries: dict[str, dict[str, Any]] = Remote(fs).ask("glob", pattern, detail=True, address=address)
        found = [file for path, info in entries.items() for file in _globbed(fs, path, info)]
    if not found:
        raise FileNotFoundError(f"nothing at {address}")
    return found


def _globbed(fs: Any, path: str, info: dict[str, Any]) -> Iterable[ListedFile]:
    return [_remote_file(fs, path, path, info)] if info["type"] == "file" else _remote(fs.unstrip_protocol(path)).files


def _remote(uri: str) -> FileListing:
    fs, root = file_system_of(uri)
    remote, root = Remote(fs), root.rstrip("/")
    info: dict[str, Any] = remote.ask("info", root, address=uri)
    if info["type"] == "file":
        return FileListing(uri, (_remote_file(fs, root.rsplit("/", 1)[-1], root, info),), is_folder=False)
    entries: dict[str, dict[str, Any]] = remote.ask("find", root, detail=True, address=uri)
    if not entries:
        raise FileNotFoundError(f"nothing at {uri}")
    files = [_remote_file(fs, path[len(root) + 1 :], path, info) for path, info in sorted(entries.items())]
    return FileListing(uri, tuple(files), is_folder=True)


def _remote_file(fs: Any, name: str, path: str, info: dict[str, Any]) -> ListedFile:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    return ListedFile(name, fs.unstrip_protocol(path), int(info["size"] or 0), version)
