"""The arrays in an .npz file, read through fsspec."""

import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from trainables.data import packaged
from trainables.storage.folder import open_file


def npz_members(address: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of a set in an .npz file, by name. ValueError: there is no such file, or it cannot be read."""
    try:
        with open_file(address) as file, np.load(file, allow_pickle=False) as archive:
            wanted = ("images", "labels", "heldout", "class_names")
            return {name: archive[name] for name in wanted if name in archive}
    except FileNotFoundError as error:
        known = ", ".join(packaged.names())
        rule = f"`data` must be a packaged set ({known}) or the path or URI of an .npz file"
        raise ValueError(f"{rule}, got {address}, where there is no file; check the spelling") from error
    except (ImportError, OSError) as error:
        raise ValueError(
            f"`data` must be reachable, got {address}: {error}; check the address and your access to it"
        ) from error
    except (EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        rule = "`data` must be a readable .npz file (numpy.savez, no pickled objects)"
        raise ValueError(f"{rule}, got {address}: {error}; write it again") from error
