"""Checkpoint files of the official JiT code, read and written back bit for bit.

Such a file is a dict that torch.save wrote: the state dicts `model`, `model_ema1` and `model_ema2` under official names, `args`
(the settings of the training command), `optimizer` and `epoch`.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from trainables.official.untrusted import WRAPPERS, check_archive, is_wrapped, loaded, settings_of, state_dict_of
from trainables.official.words import AGAIN, SETS, Scalar, StateDict, first_line, shown


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


def read(path: Path) -> OfficialFile:
    """A checkpoint's weights and plain settings; the official names are checked, the shapes by `check_fits`.

    ValueError: the file is not such a checkpoint, or would run code when it is loaded. OSError: it cannot be read.
    """
    check_archive(path)
    content = loaded(path)
    missing = [key for key in (*SETS, "args") if key not in content]
    if missing:
        got = [shown(key) for key in content][:8]
        raise ValueError(f"a checkpoint must hold {', '.join(SETS)} and args, got {', '.join(got) or 'nothing'}; {AGAIN}")
    most = path.stat().st_size
    weights = {key: state_dict_of(content[key], name=key, most_bytes=most) for key in SETS}
    args, left_out = settings_of(content["args"])
    epoch = content.get("epoch")
    known = type(epoch) is int and 0 <= epoch < 2**53
    others = [key for key in content if key not in (*SETS, "args", *(("epoch",) if known else ()))]
    left_out |= {shown(key).strip("'"): "not part of a model" for key in others}
    if any(is_wrapped(key) for part in SETS for key in dict.keys(content[part])):
        left_out["names"] = f"{' and '.join(sorted(WRAPPERS))} of wrappers, which are no part of them"
    namespace = not isinstance(content["args"], dict)
    return OfficialFile(weights, args, namespace=namespace, epoch=epoch if known else None, left_out=left_out)


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
            raise OSError(first_line(error)) from error
        os.replace(part, path)
