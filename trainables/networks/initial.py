"""Initial weights: each tensor a pure function of (seed, parameter name, shape), whatever else the network holds."""

import hashlib
import math

import torch
from torch import Tensor, nn

from trainables.draws.philox import WORDS, as_normals, as_uniforms, philox, signed

STD = 0.02


@torch.no_grad()
def initialise(network: nn.Module, seed: int) -> None:
    """Overwrite every parameter, as the official JiT code draws them.

    Zero: biases, the adaLN projection, the final layer. One: norm weights. N(0, 0.02): the label embedding, time MLP and
    class-token positions. Every other weight: Xavier uniform on the flattened matrix.
    """
    for name, parameter in network.named_parameters():
        parameter.copy_(initial_value(name, parameter.shape, seed))


def initial_value(name: str, shape: torch.Size, seed: int) -> Tensor:
    """The initial value of one tensor, float32 [shape], by its name."""
    parts = name.split(".")
    if parts[0] in ("modulation", "head") or parts[-1] == "bias":
        return torch.zeros(shape)
    if any(part.endswith(("norm", "norm1", "norm2")) for part in parts):
        return torch.ones(shape)
    if parts[0] in ("time", "label", "class_positions"):
        return STD * as_normals(_words(name, shape, seed, per_word=2))[: shape.numel()].view(shape)
    fan_out, fan_in = shape[0], shape[1:].numel()
    bound = math.sqrt(6 / (fan_in + fan_out))
    unit = as_uniforms(_words(name, shape, seed, per_word=1))[: shape.numel()].view(shape)
    return ((2 * unit - 1) * bound).to(torch.float32)


def _words(name: str, shape: torch.Size, seed: int, *, per_word: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    return signed(philox(key, first=0, blocks=-(-shape.numel() // (WORDS * per_word))))
