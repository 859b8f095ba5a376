"""A folder on a disk or in an object store: whole files in, whole files out, and files that only one writer can create.

Every address is a local path or a URI that fsspec knows (`file://`, `s3://`, `memory://`). A reader never sees half a file.
What fails raises OSError.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem


class Folder:
    """Files below one address. Names are relative, with `/` between their parts."""

    def __init__(self, uri: str) -> None:
        # Listings are read by several processes: a remembered one would hide another writer's commit.
        self._fs, self._root = url_to_fs(uri, use_listings_cache=False)
        self._local = isinstance(self._fs, LocalFileSystem)
        self.uri = uri.rstrip("/")

    def address(self, name: str) -> str:
        """The full address of a file, for people and for records."""
        return f"{self.uri}/{name}"

    def read(self, name: str) -> bytes:
        """A file's content. FileNotFoundError where there is none."""
        with _reaching(self.address(name)):
            content: bytes = self._fs.cat_file(self._path(name))
        return content

    def names(self, name: str) -> list[str]:
        """The files directly below a subfolder, sorted; none where the subfolder does not exist."""
        try:
            with _reaching(self.address(name)):
                entries: list[dict[str, Any]] = self._fs.ls(self._path(name), detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(entry["name"]).rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def put(self, name: str, content: bytes) -> None:
        """Write or replace a file; on a disk it is synced, so that it outlives a power cut."""
        path = self._path(name)
        if self._local:
            with _beside(Path(path), content) as temporary:
                os.replace(temporary, path)
            _sync(Path(path).parent)
        else:
            with _reaching(self.address(name)):
                self._fs.pipe_file(path, content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist yet; False, and nothing done, where somebody else's is there."""
        path = self._path(name)
        try:
            if self._local:
                _create_local(Path(path), content)
            else:
                with _reaching(self.address(name)):
                    self._fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if _lost_race(error):
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with _reaching(self.address(name)), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        """Delete the files directly below a subfolder, and the subfolder once it is empty."""
        for child in self.names(name):
            self.remove(f"{name}/{child}")
        if self._local and Path(self._path(name)).is_dir():
            _remove_empty(Path(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


@contextmanager
def open_file(uri: str) -> Iterator[IO[bytes]]:
    """A file to read from, seekable. OSError where it cannot be had, ImportError and ValueError for an unknown protocol."""
    with _reaching(uri), fsspec.open(uri, "rb") as file:
        yield file


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """s3fs lets botocore's own errors through: without credentials, or where nothing listens."""
    try:
        yield
    except BotoCoreError as error:
        rule = "storage must be reachable with the credentials in the environment"
        raise OSError(f"{rule}, got {error} for {address}; check the endpoint and the AWS_ variables") from error


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
    with _beside(path, content) as temporary:
        os.link(temporary, path)
    _sync(path.parent)


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


def _lost_race(error: OSError) -> bool:
    """Some S3 servers answer a create-only write with an error that s3fs knows only as errno 22."""
    return error.errno == errno.EINVAL and "PreconditionFailed" in f"{error} {error.__cause__!r}"
