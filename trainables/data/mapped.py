"""Arrays in files that are mapped instead of read: they may be larger than the memory."""

import errno
import os
import shutil
import tempfile
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import SupportsRead

_AT_ONCE = 2**20
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def mapped_npy(file: IO[bytes]) -> NDArray[np.generic] | None:
    """The .npy at which a file on a disk stands; None where it cannot be mapped: of objects, empty, or not in C order.

    ValueError: there is none.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        return None
    shape, is_fortran, dtype = _HEADERS[version](file)
    if is_fortran or dtype.hasobject or 0 in shape or not shape:
        return None
    return np.memmap(file, dtype, "r", offset=file.tell(), shape=shape)


def unpacked(packed: "SupportsRead[bytes]") -> IO[bytes]:
    """What a stream holds, as a temporary file without a name: its room on the disk is free once nobody maps it.

    OSError: the disk is full.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 it is returned
    try:
        shutil.copyfileobj(packed, file, _AT_ONCE)
    except OSError as error:
        file.close()
        if error.errno != errno.ENOSPC:
            raise
        text = f"{os.strerror(errno.ENOSPC)} to unpack into; set TMPDIR to a larger disk"
        raise OSError(errno.ENOSPC, text, tempfile.gettempdir()) from None
    file.seek(0)
    return file
