"""Initial weights: each tensor a pure function of (seed, parameter name, shape), whatever else the network holds."""

import hashlib
import math

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.draws.philox import WORDS, as_normals, as_uniforms, philox, signed
from trainables.networks.parts.part import Initial
from trainables.networks.registry import parts_of

STD = 0.02


@torch.no_grad()
def initialise(network: nn.Module, trial: TrialConfig) -> None:
    """Overwrite every parameter by the trial's seed, as its part of the network says."""
    parts = parts_of(trial)
    for name, parameter in network.named_parameters():
        parameter.copy_(initial_value(name, parameter.shape, trial.seed, kind=parts.initial(name)))


def initial_value(name: str, shape: torch.Size, seed: int, *, kind: Initial) -> Tensor:
    """The initial value of one tensor, float32 [shape]."""
    match kind:
        case "zeros":
            return torch.zeros(shape)
        case "ones":
            return torch.ones(shape)
        case "normal":
            return STD * as_normals(_words(name, shape, seed, per_word=2))[: shape.numel()].view(shape)
        case "xavier":
            fan_out, fan_in = shape[0], shape[1:].numel()
            bound = math.sqrt(6 / (fan_in + fan_out))
            unit = as_uniforms(_words(name, shape, seed, per_word=1))[: shape.numel()].view(shape)
            return ((2 * unit - 1) * bound).to(torch.float32)


def _words(name: str, shape: torch.Size, seed: int, *, per_word: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    return signed(philox(key, first=0, blocks=-(-shape.numel() // (WORDS * per_word))))
