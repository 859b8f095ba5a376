"""Addresses of files: a path on a disk, or a URI of a protocol that fsspec knows. Free of torch, and of what opens them.

A path is taken as it is: blanks, `%`, `?`, `#` and `::` in it are characters like others. In a file: URI they are escaped.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainables.config.spelling import did_you_mean

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
"""fsspec chains protocols by `::`, as in `simplecache::s3://BUCKET/KEY`."""
_ONE_SLASH = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_FILE = "file:"
Addresses = str | tuple[str, ...]
"""One address, or several that are one source."""


def in_words(address: Addresses) -> str:
    """One address or several, for people and for records."""
    return address if isinstance(address, str) else ", ".join(address)


def local_path(address: str) -> Path | None:
    """The absolute path behind a path or a file: URI; None behind a URI of another protocol. ValueError: it names no file."""
    if address.startswith(_FILE):
        return checked_path(_path_in(address))
    return None if _URI.match(address) else checked_path(address)


def check_slashes(address: str, *, key: str) -> None:
    """ValueError: it is a URI that lacks a slash; `key` is what it was given as."""
    if _ONE_SLASH.match(address):
        raise ValueError(f"`{key}` must be a path or a URI, which has two slashes, got {address}; a path may begin with ./")


def check_protocol(address: str, *, key: str) -> None:
    """ValueError: it is neither a path nor a URI of a protocol that fsspec knows."""
    check_slashes(address, key=key)
    if local_path(address) is not None:
        return
    from fsspec import available_protocols  # here, since most addresses are paths

    scheme = re.split("::|://", address)[0]
    if scheme not in available_protocols():
        remedy = did_you_mean(scheme, available_protocols(), otherwise="try s3:// or a path")
        raise ValueError(f"`{key}` must be a path or a URI of a known protocol, got {address}; {remedy}")
    if not address.rpartition("://")[2].strip("/"):
        raise ValueError(f"`{key}` must name a place behind its protocol, got {address}; such as {scheme}://BUCKET/PREFIX")


def checked_path(text: str) -> Path:
    """A path as somebody wrote it, made absolute. ValueError: no file can have it, or it cannot be written down."""
    if "\0" in text or not _is_utf8(text):
        raise ValueError(f"a path must be UTF-8 without a NUL, got {text!r}; rename the folder")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"a path that begins with ~ must name a user of this machine, got {text}; write it out") from None


def _path_in(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or "?" in uri or "#" in uri:
        rule = "a file: URI must be file:///ABSOLUTE/PATH, with %3F for ? and %23 for #"
        raise ValueError(f"{rule}, got {uri}; or give the path as it is")
    return unquote(parts.path)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
