"""Which files lie at an address: by name, size and version, none of them opened."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from trainables.storage.address import local_path
from trainables.storage.folder import file_system_of
from trainables.storage.remote import Remote

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_WILD = re.compile(r"[*?\[]")
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
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def listing_of(uri: str) -> FileListing:
    """The file at an address, or the files below it, or those that braces (`{00..07}`, `{a,b}`) or a glob name.

    A path that exists is taken as it is. FileNotFoundError: nothing is there. OSError: it cannot be had. ValueError,
    ImportError: it is no address.
    """
    path = local_path(uri)
    if path is not None and path.exists():
        return _on_a_disk(uri, path)
    addresses = list(_expanded(uri))
    if len(addresses) > 1 or _WILD.search(uri):
        named = [file for address in addresses for file in _matches(address)]
        return FileListing(uri, tuple(sorted(named, key=lambda file: file.name)), is_folder=True)
    if path is not None:
        raise FileNotFoundError(f"nothing at {uri}")
    return _remote(uri)


def _on_a_disk(uri: str, path: Path) -> FileListing:
    if not path.is_dir():
        return FileListing(uri, (_local_file(path.name, path),), is_folder=False)
    return FileListing(uri, tuple(sorted(_walked(path), key=lambda file: file.name)), is_folder=True)


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
    """The files that a glob names, or the one at an address. FileNotFoundError: none."""
    fs, pattern = file_system_of(address)
    if not _WILD.search(address):
        return [_renamed(file) for file in listing_of(address).files]
    if isinstance(fs, LocalFileSystem):
        paths = [Path(path) for path in fs.glob(pattern)]
        found = [_local_file(path.name, path) for path in paths if path.is_file()]
    else:
        entries: dict[str, dict[str, Any]] = Remote(fs).ask("glob", pattern, detail=True, address=address)
        found = [_remote_file(fs, path, path, info) for path, info in entries.items() if info["type"] == "file"]
    if not found:
        raise FileNotFoundError(f"nothing at {address}")
    return [_renamed(file) for file in found]


def _renamed(file: ListedFile) -> ListedFile:
    return ListedFile(file.address, file.address, file.size, file.version)


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
