"""A checkpoint that somebody else wrote, read without running what it holds: nothing in it is taken on trust."""

import argparse
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.official.args import STAND_INS
from trainables.official.names import check_official_names
from trainables.official.words import AGAIN, PREFIX, SETS, Scalar, StateDict, shown

WRAPPERS = frozenset({"_orig_mod", "module"})
"""Parts of names that torch.compile and data parallelism put before a parameter's own."""
_LONGEST_NAME = 100
_RULE = "a checkpoint must be a file that torch.save wrote"
_NO_ARCHIVE = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error)
# What a malformed pickle makes torch's restricted unpickler raise: it checks what is named, and not the order of the opcodes.
_NO_CHECKPOINT = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    ArithmeticError,
    EOFError,
    ImportError,
    MemoryError,
    struct.error,
)


def check_archive(path: Path) -> None:
    """torch stores its records as they are: an archive that unpacks to more than itself is none of torch's."""
    if path.is_dir():
        raise ValueError(f"a checkpoint must be a file, got the folder {path}; give {path / 'checkpoint-last.pth'}")
    if not path.is_file():
        raise ValueError(f"a checkpoint must be a file, got none at {path}; give the file that the official code wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _NO_ARCHIVE as error:
        raise ValueError(f"{_RULE}, got {path}, {_what_it_is(path)}") from error
    packed = next((entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ValueError(f"{_RULE}, which never compresses, got {path} with {shown(packed)} compressed; {AGAIN}")
    declared, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if declared > size:
        raise ValueError(f"{_RULE}, got {path}, whose {size:,} bytes claim to hold {declared:,}; {AGAIN}")


def _what_it_is(path: Path) -> str:
    """What is wrong with a file that is no archive, and the remedy."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "which is empty; copy it again"
    if start.startswith(b"PK\x03\x04"):
        return "which ends too early; copy it again"
    if start.startswith(b"\x80"):
        return "a bare pickle, which is not read because it can run code; save it again with torch 1.6 or later"
    return f"which is none; {AGAIN}"


def loaded(path: Path) -> dict[Any, Any]:
    """The top level, with nothing built but containers, numbers, tensors and a Namespace."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *STAND_INS]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _NO_CHECKPOINT as error:
        raise ValueError(f"{_RULE}, got {path}, {_refusal(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"a checkpoint must be a dict of {', '.join(SETS)} and args, got {type(content).__name__}; {AGAIN}")
    return dict(dict.items(content))


def _refusal(error: BaseException) -> str:
    called = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
    if called:
        return f"which needs {called[1]} to be called; save it again with tensors and plain settings alone"
    return f"which cannot be read ({type(error).__name__}); copy it again"


def state_dict_of(value: object, *, name: str, most_bytes: int) -> StateDict:
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a state dict, got {type(value).__name__}; {AGAIN}")
    # Unbound, here and below: a file can give its own OrderedDict and tensors attributes that hide their methods.
    items = _unwrapped(dict.items(value), name=name)
    strange = [key for key, _ in items if not (isinstance(key, str) and key.startswith(PREFIX) and len(key) <= _LONGEST_NAME)]
    if strange:
        raise ValueError(f"the parameters of `{name}` must be named {PREFIX}*, got {shown(strange[0])}; {AGAIN}")
    tensors = {key: _tensor(tensor, name=f"{name}: {key}") for key, tensor in items}
    check_official_names([key.removeprefix(PREFIX) for key in tensors])
    _check_memory(tensors, name=name, most_bytes=most_bytes)
    return tensors


def is_wrapped(key: object) -> bool:
    return isinstance(key, str) and not WRAPPERS.isdisjoint(key.split("."))


def _unwrapped(items: Iterable[tuple[Any, Any]], *, name: str) -> list[tuple[Any, Any]]:
    """The items with the names that their parameters have without wrappers. ValueError: two get the same one."""
    bare = [(".".join(p for p in key.split(".") if p not in WRAPPERS) if is_wrapped(key) else key, v) for key, v in items]
    if len({key for key, _ in bare}) < len(bare):
        raise ValueError(f"the parameters of `{name}` must have names of their own without wrappers, got a repetition; {AGAIN}")
    return bare


def _tensor(value: object, *, name: str) -> Tensor:
    if type(value) not in (Tensor, torch.nn.Parameter):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}; {AGAIN}")
    tensor = Tensor.detach(value)  # type: ignore[arg-type]
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name} must be float32, got {tensor.dtype}; convert it with .float() and save again")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError(f"{name} must be a dense, contiguous tensor with data, got another one; {AGAIN}")
    return tensor


def _check_memory(tensors: StateDict, *, name: str, most_bytes: int) -> None:
    """Tensors that share memory, or have more of it than the file, would make a small file fill a disk."""
    places = sorted((tensor.data_ptr(), tensor.nbytes) for tensor in tensors.values())
    total = sum(size for _, size in places)
    if total > most_bytes:
        raise ValueError(f"`{name}` must lie in its file of {most_bytes:,} bytes, got tensors of {total:,}; {AGAIN}")
    if any(start + size > after for (start, size), (after, _) in pairwise(places)):
        raise ValueError(f"the parameters of `{name}` must not share memory, got two that do; {AGAIN}")


def settings_of(args: object) -> tuple[dict[str, Scalar], dict[str, str]]:
    """The plain settings, and what the others are."""
    if not isinstance(args, dict | argparse.Namespace):
        raise ValueError(f"`args` must be an argparse.Namespace or a dict, got {type(args).__name__}; {AGAIN}")
    items = list(dict.items(args if isinstance(args, dict) else vars(args)))
    plain = {name: value for name, value in items if _is_plain(name) and isinstance(name, str) and _is_plain(value)}
    others = {
        f"args.{shown(name)}": f"{type(value).__name__}, not a plain setting" for name, value in items if name not in plain
    }
    return plain, others


def _is_plain(value: object) -> bool:
    """Whether JSON holds it exactly."""
    if type(value) is str:
        return value == value.encode(errors="ignore").decode()
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool or (type(value) is int and abs(value) < 2**63)
