"""Checkpoint files of the codes beside JiT's, read without running what they hold, and written."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.config.fields import choices
from trainables.official.neighbours import bare
from trainables.official.untrusted import check_archive, loaded
from trainables.official.weight_file import alone
from trainables.official.words import StateDict, first_line

HELD_UNDER = ("ema", "state_dict", "model")
"""Keys under which these codes keep a state dict; the first that is there is taken."""


def read_neighbour(checkpoint: Path, *, prefix: str = "") -> StateDict:
    """The state dict of a checkpoint, in itself or under one of `HELD_UNDER`: names behind `prefix`, without wrappers, float32.

    ValueError: it holds none, or would run code. OSError: it cannot be read.
    """
    check_archive(checkpoint)
    content: dict[Any, Any] = loaded(checkpoint)
    held = next((content[key] for key in HELD_UNDER if isinstance(content.get(key), dict)), content)
    tensors = {name: tensor for name, tensor in dict.items(held) if isinstance(name, str) and type(tensor) is Tensor}
    named = {name.removeprefix(prefix): tensor for name, tensor in bare(tensors).items() if name.startswith(prefix)}
    if not named:
        what = f"tensors named {prefix}*" if prefix else "tensors"
        rule = f"a checkpoint must hold {what}, in itself or under {choices(HELD_UNDER)}"
        raise ValueError(f"{rule}, got none; give another file, or another --prefix")
    return {name: tensor.float() for name, tensor in named.items()}


def write_checkpoint(state_dict: StateDict, checkpoint: Path) -> None:
    """A checkpoint with the key `state_dict`. OSError: it cannot be written."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.save({"state_dict": alone(state_dict)}, checkpoint)
    except RuntimeError as error:  # torch's writer tells a full disk so
        raise OSError(first_line(error)) from error
