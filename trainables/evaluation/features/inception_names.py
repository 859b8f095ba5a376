"""The Inception network's weights under the names that NVIDIA's copies keep from TensorFlow's graph.

`layers.mixed_1.tower.conv_1.weight`, `...beta`, `...mean`, `...var` for every convolution, and `output.weight`, `output.bias`.
Both name families have the convolutions in one order: along the network, and branch by branch within a block.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_PREFIX = "layers."
_ROLES = {
    "weight": "conv.weight",
    "beta": "bn.bias",
    "gamma": "bn.weight",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}
_CLASSIFIER = {"output.weight": "fc.weight", "output.bias": "fc.bias"}


def in_our_names(state: Mapping[str, Tensor], *, convolutions: list[str]) -> dict[str, Tensor]:
    """The state dict by pytorch-fid's names; one that has other names than NVIDIA's as it is.

    `convolutions`: ours in their order. A scale that is not there is 1. ValueError: another number of convolutions.
    """
    if not any(name.startswith(_PREFIX) for name in state):
        return dict(state)
    theirs = sorted({name.rpartition(".")[0] for name in state if name.startswith(_PREFIX)}, key=_place)
    if len(theirs) != len(convolutions):
        rule = f"`weights` by NVIDIA's names must have the {len(convolutions)} convolutions of the Inception network of 2015"
        raise ValueError(f"{rule}, got {len(theirs)}; give that network's weights")
    ours = dict(zip(theirs, convolutions, strict=True))
    renamed = {_renamed(name, ours): tensor for name, tensor in state.items()}
    return {**_left_out(renamed, convolutions), **renamed}


def _place(module: str) -> list[tuple[str, int]]:
    """Sorts `conv_2` before `conv_10`, and what has no number before both."""
    parts = [re.fullmatch(r"(.*?)(?:_(\d+))?", part) for part in module.split(".")]
    return [(part[1], int(part[2] or 0)) for part in parts if part is not None]


def _renamed(name: str, ours: Mapping[str, str]) -> str:
    module, _, role = name.rpartition(".")
    return f"{ours[module]}.{_ROLES.get(role, role)}" if module in ours else _CLASSIFIER.get(name, name)


def _left_out(state: Mapping[str, Tensor], convolutions: list[str]) -> dict[str, Tensor]:
    """What normalisations hold and TensorFlow's do not."""
    made: dict[str, Tensor] = {}
    for name in convolutions:
        made[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
        if (shift := state.get(f"{name}.bn.bias")) is not None:
            made[f"{name}.bn.weight"] = torch.ones_like(shift)
    return made
