"""Checkpoint files of the official JiT code: read without running what they hold, and written back bit for bit.

Such a file is a dict that torch.save wrote: the state dicts `model`, `model_ema1` and `model_ema2` under official names, `args`
(the settings of the training command), `optimizer` and `epoch`. It is somebody else's: nothing in it is taken on trust.
"""

import argparse
import math
import os
import pickle
import re
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.positions import sincos_table
from trainables.networks.registry import blank
from trainables.official.args import STAND_INS
from trainables.official.names import check_official_names, check_table, depth_of, to_official, to_ours

SETS = ("model", "model_ema1", "model_ema2")
"""The weights of a checkpoint: as trained, and their two averages. The official code evaluates the first average."""
PREFIX = "net."
WRAPPERS = frozenset({"_orig_mod", "module"})
"""Parts of names that torch.compile and data parallelism put before a parameter's own."""
_LONGEST_NAME = 100

Scalar = str | int | float | bool | None
StateDict = dict[str, Tensor]

_RULE = "a checkpoint must be a file that torch.save wrote"
_AGAIN = "give the file as the official code wrote it"
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


@dataclass(frozen=True)
class OfficialFile:
    """What is kept of a checkpoint."""

    weights: Mapping[str, StateDict]
    """One of `SETS` -> official name with `net.` -> float32 on the CPU, mapped from the file and not copied."""
    args: Mapping[str, Scalar]
    namespace: bool = True
    """Whether `args` is an argparse.Namespace; a dict otherwise."""
    epoch: int | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    """What else the file holds, and why it is not kept."""


@dataclass(frozen=True)
class Sizes:
    """What the tensors' shapes tell of a network."""

    width: int
    depth: int
    head_dim: int
    bottleneck: int
    hidden: int
    """Of SwiGLU, after the factor 2/3."""
    class_tokens: int
    num_classes: int
    channels: int
    patch_size: int
    image_size: int


def read(path: Path) -> OfficialFile:
    """A checkpoint's weights and plain settings; the official names are checked, the shapes by `check_fits`.

    ValueError: the file is not such a checkpoint, or would run code when it is loaded. OSError: it cannot be read.
    """
    _check_archive(path)
    content = _loaded(path)
    missing = [key for key in (*SETS, "args") if key not in content]
    if missing:
        got = [_shown(key) for key in content][:8]
        raise ValueError(f"a checkpoint must hold {', '.join(SETS)} and args, got {', '.join(got) or 'nothing'}; {_AGAIN}")
    most = path.stat().st_size
    weights = {key: _state_dict(content[key], name=key, most_bytes=most) for key in SETS}
    args, left_out = _settings(content["args"])
    epoch = content.get("epoch")
    known = type(epoch) is int and 0 <= epoch < 2**53
    others = [key for key in content if key not in (*SETS, "args", *(("epoch",) if known else ()))]
    left_out |= {_shown(key).strip("'"): "not part of a model" for key in others}
    if any(_wrapped(key) for part in SETS for key in dict.keys(content[part])):
        left_out["names"] = f"{' and '.join(sorted(WRAPPERS))} of wrappers, which are no part of them"
    namespace = not isinstance(content["args"], dict)
    return OfficialFile(weights, args, namespace=namespace, epoch=epoch if known else None, left_out=left_out)


def sizes_of(state_dict: Mapping[str, Tensor]) -> Sizes:
    """The sizes that a few of the tensors tell; that the others have them too is for `check_fits`.

    ValueError: one of these few has not the dimensions that it must have.
    """
    _, tokens, width = _shape(state_dict, "pos_embed", 3)
    bottleneck, channels, patch, _ = _shape(state_dict, "x_embedder.proj1.weight", 4)
    posemb = "in_context_posemb"
    return Sizes(
        width=width,
        depth=depth_of(name.removeprefix(PREFIX) for name in state_dict),
        head_dim=_shape(state_dict, "blocks.0.attn.q_norm.weight", 1)[0],
        bottleneck=bottleneck,
        hidden=_shape(state_dict, "blocks.0.mlp.w3.weight", 2)[1],
        class_tokens=_shape(state_dict, posemb, 3)[1] if PREFIX + posemb in state_dict else 0,
        num_classes=_shape(state_dict, "y_embedder.embedding_table.weight", 2)[0] - 1,
        channels=channels,
        patch_size=patch,
        image_size=math.isqrt(tokens) * patch,
    )


def check_fits(weights: Mapping[str, StateDict], trial: TrialConfig) -> None:
    """ValueError: a tensor has another shape than in the trial's network, is not finite, or is another position table."""
    blank = _blank(trial)
    table = torch.empty(trial.grid**2, trial.model.width, device="meta")
    expected = to_official(blank, position=table, patch_size=trial.model.patch_size)
    for key, state_dict in weights.items():
        _check_same_shapes(state_dict, expected, source=key)
        count = sum(tensor.numel() for name, tensor in state_dict.items() if name != f"{PREFIX}pos_embed")
        if count != parameter_count(trial):
            raise ValueError(f"`{key}` must have {parameter_count(trial):,} parameters, got {count:,}; {_AGAIN}")
        for name, tensor in state_dict.items():
            if not tensor.isfinite().all():
                raise ValueError(f"weights must be finite, got NaN or infinity in {key}: {name}; give an earlier checkpoint")
        check_table(state_dict[f"{PREFIX}pos_embed"])


def write_weights(file: OfficialFile, folder: Path, *, files: Mapping[str, str], positions: str) -> None:
    """Write a checkpoint's weights under our names, each set in the file that `files` names for it, and its position tables.

    The tables are the fixed one, but averaging has rounded their copies: kept so that the way back is exact.
    OSError: the folder cannot be written.
    """
    for key, name in files.items():
        _save(to_ours(file.weights[key]), folder / name)
    _save({key: state_dict[f"{PREFIX}pos_embed"].clone() for key, state_dict in file.weights.items()}, folder / positions)


def read_weights(trial: TrialConfig, folder: Path, *, files: Mapping[str, str], positions: str | None) -> dict[str, StateDict]:
    """The weights of a trial's network under official names, as `write_weights` wrote them.

    Sets that share a file share their tensors, which torch.save writes once. Without `positions` the table is the fixed one.
    ValueError: the files do not fit the trial. OSError: they cannot be read.
    """
    fixed = sincos_table(trial.grid, trial.model.width)
    tables = _load(folder / positions) if positions else dict.fromkeys(files, fixed)
    ours = {name: _load(folder / name) for name in dict.fromkeys(files.values())}
    if tables.keys() != files.keys() or any(table.numel() != fixed.numel() for table in tables.values()):
        raise ValueError(f"the position tables must be one of {tuple(fixed.shape)} for each set, got {folder}; import again")
    for name, state_dict in ours.items():
        _check_same_shapes(state_dict, _blank(trial), source=name)
    patch = trial.model.patch_size
    if positions is None:
        shared = {name: _alone(to_official(state_dict, position=fixed, patch_size=patch)) for name, state_dict in ours.items()}
        return {key: shared[name] for key, name in files.items()}
    return {key: _alone(to_official(ours[name], position=tables[key], patch_size=patch)) for key, name in files.items()}


def write(file: OfficialFile, path: Path) -> None:
    """Write a checkpoint whole or not at all, in the form that the official code loads. OSError: it cannot be written."""
    args: dict[str, Scalar] | argparse.Namespace = dict(file.args)
    if file.namespace:
        args = argparse.Namespace()
        vars(args).update(file.args)  # a setting may be called `self`
    content = {**file.weights, "args": args, **({} if file.epoch is None else {"epoch": file.epoch})}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        part = Path(temporary) / "part"
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's writer tells a full disk so
            raise OSError(_first_line(error)) from error
        os.replace(part, path)


def _check_archive(path: Path) -> None:
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
        raise ValueError(f"{_RULE}, which never compresses, got {path} with {_shown(packed)} compressed; {_AGAIN}")
    declared, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if declared > size:
        raise ValueError(f"{_RULE}, got {path}, whose {size:,} bytes claim to hold {declared:,}; {_AGAIN}")


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
    return f"which is none; {_AGAIN}"


def _loaded(path: Path) -> dict[Any, Any]:
    """The top level, with nothing built but containers, numbers, tensors and a Namespace."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *STAND_INS]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _NO_CHECKPOINT as error:
        raise ValueError(f"{_RULE}, got {path}, {_refusal(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"a checkpoint must be a dict of {', '.join(SETS)} and args, got {type(content).__name__}; {_AGAIN}")
    return dict(dict.items(content))


def _refusal(error: BaseException) -> str:
    called = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
    if called:
        return f"which needs {called[1]} to be called; save it again with tensors and plain settings alone"
    return f"which cannot be read ({type(error).__name__}); copy it again"


def _state_dict(value: object, *, name: str, most_bytes: int) -> StateDict:
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a state dict, got {type(value).__name__}; {_AGAIN}")
    # Unbound, here and below: a file can give its own OrderedDict and tensors attributes that hide their methods.
    items = _unwrapped(dict.items(value), name=name)
    strange = [key for key, _ in items if not (isinstance(key, str) and key.startswith(PREFIX) and len(key) <= _LONGEST_NAME)]
    if strange:
        raise ValueError(f"the parameters of `{name}` must be named {PREFIX}*, got {_shown(strange[0])}; {_AGAIN}")
    tensors = {key: _tensor(tensor, name=f"{name}: {key}") for key, tensor in items}
    check_official_names([key.removeprefix(PREFIX) for key in tensors])
    _check_memory(tensors, name=name, most_bytes=most_bytes)
    return tensors


def _wrapped(key: object) -> bool:
    return isinstance(key, str) and not WRAPPERS.isdisjoint(key.split("."))


def _unwrapped(items: Iterable[tuple[Any, Any]], *, name: str) -> list[tuple[Any, Any]]:
    """The items with the names that their parameters have without wrappers. ValueError: two get the same one."""
    bare = [(".".join(p for p in key.split(".") if p not in WRAPPERS) if _wrapped(key) else key, v) for key, v in items]
    if len({key for key, _ in bare}) < len(bare):
        raise ValueError(
            f"the parameters of `{name}` must have names of their own without wrappers, got a repetition; {_AGAIN}"
        )
    return bare


def _tensor(value: object, *, name: str) -> Tensor:
    if type(value) not in (Tensor, torch.nn.Parameter):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}; {_AGAIN}")
    tensor = Tensor.detach(value)  # type: ignore[arg-type]
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name} must be float32, got {tensor.dtype}; convert it with .float() and save again")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError(f"{name} must be a dense, contiguous tensor with data, got another one; {_AGAIN}")
    return tensor


def _check_memory(tensors: StateDict, *, name: str, most_bytes: int) -> None:
    """Tensors that share memory, or have more of it than the file, would make a small file fill a disk."""
    places = sorted((tensor.data_ptr(), tensor.nbytes) for tensor in tensors.values())
    total = sum(size for _, size in places)
    if total > most_bytes:
        raise ValueError(f"`{name}` must lie in its file of {most_bytes:,} bytes, got tensors of {total:,}; {_AGAIN}")
    if any(start + size > after for (start, size), (after, _) in pairwise(places)):
        raise ValueError(f"the parameters of `{name}` must not share memory, got two that do; {_AGAIN}")


def _settings(args: object) -> tuple[dict[str, Scalar], dict[str, str]]:
    """The plain settings, and what the others are."""
    if not isinstance(args, dict | argparse.Namespace):
        raise ValueError(f"`args` must be an argparse.Namespace or a dict, got {type(args).__name__}; {_AGAIN}")
    items = list(dict.items(args if isinstance(args, dict) else vars(args)))
    plain = {name: value for name, value in items if _is_plain(name) and isinstance(name, str) and _is_plain(value)}
    others = {
        f"args.{_shown(name)}": f"{type(value).__name__}, not a plain setting" for name, value in items if name not in plain
    }
    return plain, others


def _is_plain(value: object) -> bool:
    """Whether JSON holds it exactly."""
    if type(value) is str:
        return value == value.encode(errors="ignore").decode()
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool or (type(value) is int and abs(value) < 2**63)


def _shape(state_dict: Mapping[str, Tensor], name: str, dimensions: int) -> torch.Size:
    shape = state_dict[PREFIX + name].shape
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"{PREFIX}{name} must have {dimensions} dimensions of at least 1, got {list(shape)}; {_AGAIN}")
    return shape


def _check_same_shapes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str) -> None:
    if given.keys() != expected.keys():
        strange = sorted(given.keys() ^ expected.keys())
        raise ValueError(f"`{source}` must hold the network's parameters, got others: {', '.join(strange[:4])}; {_AGAIN}")
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            got = f"{list(given[name].shape)}"
            raise ValueError(f"{source}: {name} must have the shape {list(tensor.shape)}, got {got}; {_AGAIN}")


def _blank(trial: TrialConfig) -> StateDict:
    """The trial's parameters without memory."""
    with torch.device("meta"):
        return dict(blank(trial).state_dict())


def _alone(state_dict: StateDict) -> StateDict:
    """Each tensor with memory of its own: torch.save writes the whole of what a view looks at."""
    return {name: t if t.untyped_storage().nbytes() == t.nbytes else t.clone() for name, t in state_dict.items()}


def _save(tensors: StateDict, file: Path) -> None:
    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise OSError(_first_line(error)) from error
    file.chmod(0o644)  # safetensors leaves it to its owner alone


def _load(file: Path) -> StateDict:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"weights must be a safetensors file, got {file} ({_first_line(error)}); import again") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _shown(value: object) -> str:
    """A name out of a file, short and on one line."""
    return repr(value)[:60] if isinstance(value, str | int | float | bool | None) else type(value).__name__
