"""A folder on a disk or in an object store: whole files in, whole files out, and files that only one writer can create.

Every address is a local path or a URI that fsspec knows (`file://`, `s3://`, `memory://`), told apart in `address`. A reader
never sees half a file.
What fails raises OSError; what hangs raises it by a deadline.
"""

import errno
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from trainables.storage.address import local_path
from trainables.storage.remote import PATIENCE, Patience, Remote

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_AHEAD = 8 * 2**20
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What os.link says where the file system has none, or the file no more."""


class Folder:
    """Files below one address. Names are relative, with `/` between their parts."""

    def __init__(self, uri: str, *, patience: Patience = PATIENCE) -> None:
        self._fs, self._root = file_system_of(uri)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._remote = Remote(self._fs, patience)
        self.uri = uri.rstrip("/")

    def address(self, name: str) -> str:
        """The full address of a file, for people and for records."""
        return f"{self.uri}/{name}"

    def read(self, name: str) -> bytes:
        """A file's content. FileNotFoundError where there is none."""
        size = 0 if self._local else self._ask("info", name)["size"] or 0
        content: bytes = self._ask("cat_file", name, size=size)
        return content

    def read_part(self, name: str, *, start: int, end: int) -> bytes:
        """The bytes of a file from `start` to before `end`. FileNotFoundError where there is none."""
        content: bytes = self._ask("cat_file", name, start=start, end=end, size=end - start)
        return content

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        try:
            found: bool = self._ask("info", name)["type"] == "file"
        except (FileNotFoundError, NotADirectoryError):
            return False
        return found

    def names(self, name: str) -> list[str]:
        """The files directly below a subfolder, sorted; none where the subfolder does not exist."""
        try:
            entries: list[dict[str, Any]] = self._ask("ls", name, detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def folders(self, name: str) -> list[str]:
        """The subfolders directly below a subfolder, sorted; none where it does not exist."""
        try:
            entries: list[dict[str, Any]] = self._ask("ls", name, detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def sizes(self, name: str) -> dict[str, int]:
        """The bytes of every file below a subfolder, however deep, by the name within it, sorted."""
        try:
            entries: dict[str, dict[str, Any]] = self._ask("find", name, detail=True)
        except FileNotFoundError:
            return {}
        below = len(self._path(name).rstrip("/")) + 1
        return {path[below:]: int(info["size"]) for path, info in sorted(entries.items())}

    def put(self, name: str, content: bytes) -> None:
        """Write or replace a file; on a disk it is synced, so that it outlives a power cut."""
        if self._local:
            path = Path(self._path(name))
            with _named(path), _beside(path, content) as temporary:
                os.replace(temporary, path)
                _sync(path.parent)
        else:
            self._ask("pipe_file", name, content, size=len(content))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist yet; False, and nothing done, where somebody else's is there.

        Writers who race must bring different contents: a file that holds this one's is this one's, written by a call
        whose answer was lost.
        """
        try:
            if self._local:
                _create_local(Path(self._path(name)), content)
            else:
                self._ask("pipe_file", name, content, mode="create", size=len(content))
        except FileExistsError:
            return self._holds(name, content)
        return True

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            self._ask("rm_file", name)

    def remove_folder(self, name: str) -> None:
        """Delete the files directly below a subfolder, and the subfolder once it is empty."""
        for child in self.names(name):
            self.remove(f"{name}/{child}")
        self.remove_if_empty(name)

    def remove_if_empty(self, name: str) -> None:
        """Delete a subfolder that holds nothing; object stores have none of those."""
        if self._local and Path(self._path(name)).is_dir():
            _remove_empty(Path(self._path(name)))

    def _holds(self, name: str, content: bytes) -> bool:
        try:
            return self.read(name) == content
        except FileNotFoundError:
            return False

    def _ask(self, method: str, name: str, *arguments: object, size: int = 0, **named: object) -> Any:
        path = self._path(name)
        if self._local:
            return getattr(self._fs, method)(path, *arguments, **named)
        return self._remote.ask(method, path, *arguments, address=self.address(name), size=size, **named)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


@contextmanager
def open_file(uri: str, *, patience: Patience = PATIENCE) -> Iterator[IO[bytes]]:
    """A file to read from, seekable. OSError where it cannot be had, ImportError and ValueError for an unknown protocol."""
    fs, path = file_system_of(uri)
    if isinstance(fs, LocalFileSystem):
        with fs.open(path, "rb") as file:
            yield file
        return
    remote = Remote(fs, patience)
    size = remote.ask("info", path, address=uri)["size"]
    if size is None:  # a web server need not say
        yield io.BytesIO(remote.ask("cat_file", path, address=uri))
        return

    def fetch(start: int, end: int) -> bytes:
        content: bytes = remote.ask("cat_file", path, start=start, end=end, address=uri, size=end - start)
        return content

    with io.BufferedReader(_Pieces(fetch, size), buffer_size=_READ_AHEAD) as file:
        yield file


def read_file(uri: str) -> bytes:
    """One file's content. FileNotFoundError where there is none, OSError where it cannot be had."""
    with open_file(uri) as file:
        return file.read()


def put_file(uri: str, content: bytes) -> None:
    """Write or replace one file. OSError where it cannot be had."""
    path = local_path(uri)
    folder, _, name = (str(path) if path is not None else uri).rpartition("/")
    Folder(folder or "/").put(name, content)


def file_system_of(uri: str) -> tuple[AbstractFileSystem, str]:
    """The file system behind an address, and the address in its own form. ValueError, ImportError: there is none."""
    path = local_path(uri)
    if path is not None:
        return LocalFileSystem(), str(path)
    # Listings are read by several processes: a remembered one would hide another writer's commit.
    fs, root = url_to_fs(uri, use_listings_cache=False)
    return fs, str(root)


class _Pieces(io.RawIOBase):
    """A remote file, fetched piece by piece so that each has a deadline of its own."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"a file's position must not be negative, got {start + offset}")
        self._at = start + offset
        return self._at

    def readall(self) -> bytes:
        """All the rest as one piece: the inherited one would ask for 8 KiB at a time."""
        content = self._fetch(self._at, self._size) if self._at < self._size else b""
        self._at += len(content)
        return content

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        content = self._fetch(self._at, end)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A full disk, for one, does not say which file it had no room for."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """A synced temporary file in the target's folder, gone afterwards whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _create_local(path: Path, content: bytes) -> None:
    """A hard link appears whole or not at all and fails where the name is taken."""
    with _named(path), _beside(path, content) as temporary:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _create_in_place(path, content)
        _sync(path.parent)


def _create_in_place(path: Path, content: bytes) -> None:
    """Where there are no hard links: the name is one writer's alone, but a reader may see it before its content is whole.

    A crash in between leaves a damaged file, which stays until somebody deletes it.
    """
    with path.open("xb", buffering=0) as file:
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
