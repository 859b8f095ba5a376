"""The arrays in an .npz file, read through fsspec."""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from trainables.config.spelling import did_you_mean
from trainables.data import packaged
from trainables.data.file_kinds import HEAD_BYTES, OtherKind, kind_of
from trainables.data.mapped import mapped_npy, unpacked
from trainables.storage.address import check_protocol, local_path
from trainables.storage.folder import open_file
from trainables.storage.listing import names_beside

NAMES = ("images", "labels", "heldout", "class_names")
_DAMAGED = (EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading an archive raises where it is cut off, changed, encrypted or packed in an unknown way."""
_LENGTHS_AT, _ENCRYPTED = 26, 1
"""Where a member's own header in a zip file holds the lengths of its name and extra field; the flag of an encrypted one."""
_NPZ = "`data` must be an .npz file (numpy.savez)"


def npz_members(address: str, *, mapped: bool = False) -> dict[str, NDArray[np.generic]]:
    """The arrays of a set in an .npz file, by name. ValueError: there is no such file, or it cannot be read.

    `mapped`: images are not read but mapped, for one look: who keeps those of a file on a disk would see it change.
    """
    _refuse_what_is_no_file(address)
    try:
        with open_file(address) as file:
            return _members(file, address, mapped=mapped)
    except FileNotFoundError as error:
        known = ", ".join(packaged.names())
        rule = f"`data` must be a packaged set ({known}) or the path or URI of an .npz file"
        raise ValueError(f"{rule}, got {address}, where there is no file; {_meant(address)}") from error
    except (ImportError, OSError) as error:
        remedy = "check the address and your access to it"
        raise ValueError(f"`data` must be reachable, got {address}: {error}; {remedy}") from error


def _meant(address: str) -> str:
    """The packaged set, or the file beside it, that an address was probably to name."""
    names, path = list(packaged.names()), local_path(address)
    if path is not None:
        names += [name for name in names_beside(path) if (path.parent / name).is_file()]
    return did_you_mean(address if path is None else path.name, names, otherwise="check the spelling")


def _refuse_what_is_no_file(address: str) -> None:
    check_protocol(address, key="data")
    path = local_path(address)
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{_NPZ}, got the folder {address}; pack its images into one array, and name the file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{_NPZ}, got {address}, which is a device or a pipe; name a file")


def _members(file: IO[bytes], address: str, *, mapped: bool) -> dict[str, NDArray[np.generic]]:
    other = kind_of(file.read(HEAD_BYTES))
    file.seek(0)
    if other is not None:
        raise ValueError(f"{_NPZ}, got {other.name} at {address}; {other.remedy}")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            images = _mapped(local_path(address), archive) if mapped else None
        _refuse_other_names(names, address)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            kept = {} if images is None else {"images": images}
            return kept | {name: _array(arrays, name, address) for name in NAMES if name in arrays and name not in kept}
    except OtherKind:
        raise
    except _DAMAGED as error:
        rule = "`data` must be a whole .npz file"
        raise ValueError(
            f"{rule}, got one that is cut off or damaged at {address} ({error}); write or copy it again"
        ) from error


def _mapped(path: Path | None, archive: zipfile.ZipFile) -> NDArray[np.generic] | None:
    """`images` mapped: as they lie in a file on a disk, or from a temporary file. None: they cannot be.

    ValueError: the format is wrong.
    """
    member = {info.filename: info for info in archive.infolist()}.get("images.npy")
    if member is None or member.flag_bits & _ENCRYPTED:
        return None
    if path is None or member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as packed, unpacked(packed) as file:
            return mapped_npy(file)
    with path.open("rb") as file:
        file.seek(member.header_offset + _LENGTHS_AT)
        lengths = sum(struct.unpack("<HH", file.read(4)))
        file.seek(member.header_offset + _LENGTHS_AT + 4 + lengths)
        return mapped_npy(file)


def _refuse_other_names(files: Iterable[str], address: str) -> None:
    """OtherKind: the archive is no .npz, has no images, or has an array whose name is one of ours misspelt."""
    names = [file.removesuffix(".npy") for file in files if file.endswith(".npy")]
    if not names:
        some = ", ".join(list(files)[:3]) or "nothing"
        raise OtherKind(f"{_NPZ}, got a zip archive that holds {some} at {address}; read its files into arrays first")
    if "images" not in names:
        rule, remedy = "an image file must hold an array `images`", f"numpy.savez(FILE, images=...) with {', '.join(NAMES)}"
        raise OtherKind(f"{rule}, got {', '.join(names)} in {address}; name it so: {remedy}")
    missing = [name for name in NAMES if name not in names]
    for name in names:
        if name not in NAMES and (hint := did_you_mean(name, missing, otherwise="")):
            raise OtherKind(f"an image file's arrays must be {', '.join(NAMES)}, got {name!r} in {address}; {hint}")


def _array(arrays: "np.lib.npyio.NpzFile", name: str, address: str) -> NDArray[np.generic]:
    try:
        return np.asarray(arrays[name])
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        rule = f"`{name}` must be one array of numbers or texts"
        remedy = "bring all to one size and type, and numpy.stack them"
        raise OtherKind(f"{rule}, got an array of Python objects in {address}; {remedy}") from None
