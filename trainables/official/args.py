"""Values in a checkpoint's `args` that are no plain settings and no danger: numpy's scalars, and paths.

Their constructors are replaced by those of this file, so that nothing of numpy or pathlib is called by what a file says.
"""

import struct
from collections.abc import Callable

_FORMATS = {"b1": "?", **{f"i{size}": code for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))}}
_FORMATS |= {f"u{size}": code for size, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_FORMATS |= {"f2": "e", "f4": "f", "f8": "d"}


class Path:
    """A path of the machine that trained; it means nothing here."""

    def __init__(self, *parts: object) -> None:
        pass


class NumpyType:
    """In place of numpy.dtype: a number's code, such as `f8`, and its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        self.order = ">" if isinstance(state, tuple) and state[1:2] == (">",) else "<"


class NumpyScalar:
    """One that is no number."""


def number(kind: object, raw: object) -> bool | int | float | NumpyScalar:
    """In place of numpy's `scalar`: the Python number of these bytes. struct.error: they are too few or too many."""
    if not isinstance(kind, NumpyType) or not isinstance(raw, bytes) or kind.code not in _FORMATS:
        return NumpyScalar()
    value: bool | int | float = struct.unpack(kind.order + _FORMATS[str(kind.code)], raw)[0]
    return value


def latin1(text: object, encoding: object) -> bytes:
    """In place of `codecs.encode`, by which torch.save writes bytes. ValueError: another encoding."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes are written in latin1")
    return text.encode("latin1")


_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
STAND_INS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (latin1, "_codecs.encode"),
    (NumpyType, "numpy.dtype"),
    *((number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((Path, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name in _PATHS),
]
"""What torch's restricted unpickler calls instead of what a file names."""
