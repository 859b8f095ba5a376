"""Initial weights: each tensor a pure function of (seed, parameter name, shape), whatever else the network holds."""

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.draws.philox import WORDS, as_normals, as_uniforms, philox, signed
from trainables.networks.parts.part import Initial

STD = 0.02


@torch.no_grad()
def overwrite(network: nn.Module, *, seed: int, kind_of: Callable[[str], Initial]) -> None:
    """Give every parameter its initial value; `kind_of` says by a parameter's name how it starts."""
    parameters = dict(network.named_parameters())
    for name, parameter in parameters.items():
        weight = parameters.get(f"{name.removesuffix('bias')}weight", parameter)
        fan_in = weight.shape[1:].numel()
        parameter.copy_(initial_value(name, parameter.shape, seed, kind=kind_of(name), fan_in=fan_in))


def initial_value(name: str, shape: torch.Size, seed: int, *, kind: Initial, fan_in: int = 1) -> Tensor:
    """The initial value of one tensor, float32 [shape]; `fan_in` counts the inputs of the module that holds it, for "torch"."""
    match kind:
        case "zeros":
            return torch.zeros(shape)
        case "ones":
            return torch.ones(shape)
        case "normal":
            return STD * _normal(name, shape, seed)
        case "standard":
            return _normal(name, shape, seed)
        case "xavier":
            return _uniform(name, shape, seed, bound=math.sqrt(6 / (shape[0] + shape[1:].numel())))
        case "torch":
            return _uniform(name, shape, seed, bound=1 / math.sqrt(fan_in))


def _normal(name: str, shape: torch.Size, seed: int) -> Tensor:
    return as_normals(_words(name, shape, seed, per_word=2))[: shape.numel()].view(shape)


def _uniform(name: str, shape: torch.Size, seed: int, *, bound: float) -> Tensor:
    unit = as_uniforms(_words(name, shape, seed, per_word=1))[: shape.numel()].view(shape)
    return ((2 * unit - 1) * bound).to(torch.float32)


def _words(name: str, shape: torch.Size, seed: int, *, per_word: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    return signed(philox(key, first=0, blocks=-(-shape.numel() // (WORDS * per_word))))
