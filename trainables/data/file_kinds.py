"""What a file is that somebody took for an .npz, by its first bytes."""

from dataclasses import dataclass

HEAD_BYTES = 512
_TAR_MARK = 257
"""Where a tar archive says what it is."""


class OtherKind(ValueError):
    """The file is whole, but not what it should be: the message is complete."""


@dataclass(frozen=True)
class FileKind:
    """What people call it, and what to do with it."""

    name: str
    remedy: str


_PICTURE = "name the folder of pictures that it lies in"
_UNPACK = "unpack it first"
_CONVERT = "read it, and write its images with numpy.savez(FILE, images=...)"
_KINDS: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x93NUMPY", FileKind("a single array (.npy)", "write numpy.savez(FILE, images=numpy.load(...))")),
    (b"\x89PNG", FileKind("one PNG picture", _PICTURE)),
    (b"\xff\xd8\xff", FileKind("one JPEG picture", _PICTURE)),
    (b"GIF8", FileKind("one GIF picture", _PICTURE)),
    (b"RIFF", FileKind("one WebP picture or a RIFF film", _PICTURE)),
    (b"BM", FileKind("one BMP picture", _PICTURE)),
    (b"II*\0", FileKind("one TIFF picture", _PICTURE)),
    (b"MM\0*", FileKind("one TIFF picture", _PICTURE)),
    (b"\x1f\x8b", FileKind("a gzip file", _UNPACK)),
    (b"BZh", FileKind("a bzip2 file", _UNPACK)),
    (b"\xfd7zXZ", FileKind("an xz file", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", FileKind("a zstd file", _UNPACK)),
    (b"PAR1", FileKind("a parquet file", _CONVERT)),
    (b"\x89HDF", FileKind("an HDF5 file", _CONVERT)),
    (b"\x80", FileKind("a pickle, which may run code when it is read", "write its arrays with numpy.savez where you trust it")),
    (b"version https://git-lfs", FileKind("a Git LFS pointer, not the file itself", "run `git lfs pull`")),
)
_EMPTY = FileKind("an empty file", "write or copy it again")
_TAR = FileKind("a tar archive", _UNPACK)
_PAGE = FileKind("a web page or XML", "open the address in a browser: it may ask for a log-in, or be another link's")
_TEXT = FileKind("a text file", f"open it: it may tell of a failed download; of numbers, {_CONVERT}")
_UNKNOWN = FileKind("a file of another kind", _CONVERT)


def kind_of(head: bytes) -> FileKind | None:
    """What a file with these first bytes is; None for a zip archive, which an .npz is."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    if not head:
        return _EMPTY
    for mark, kind in _KINDS:
        if head.startswith(mark):
            return kind
    if head[_TAR_MARK:].startswith(b"ustar"):
        return _TAR
    return _of_text(head)


def _of_text(head: bytes) -> FileKind:
    if b"\0" in head:
        return _UNKNOWN
    try:
        head[: HEAD_BYTES - 4].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return _UNKNOWN
    return _PAGE if head.lstrip().startswith(b"<") else _TEXT
