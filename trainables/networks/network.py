"""What the trainer, the sampler and the adapters know of a network, whatever its parts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainables.config.trial import TrialConfig

NOTHING: Mapping[str, Mapping[str, Tensor]] = MappingProxyType({})
AUXILIARY = "auxiliary"
"""The attribute of a network that holds what terms of its loss train beside it."""


class Tapped(NamedTuple):
    """A network's output, and the tokens that terms of its loss read on the way."""

    output: Tensor
    """[B, C, H, W]."""
    tokens: dict[str, Tensor]
    """[B, N, D] by the term's kind, without class tokens."""


def call(block: nn.Module, *inputs: Any) -> Any:
    """A block of any network, of its inputs."""
    return block(*inputs)


class Space(Protocol):
    """Between pixels and what a network sees."""

    def up(self, x: Tensor) -> Tensor:
        """Of images [B, C, H, W] in [-1, 1], without chance."""
        ...

    def down(self, x: Tensor) -> Tensor:
        """And back."""
        ...


class Network(nn.Module):
    """o(z, t, y): z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null)."""

    trial: TrialConfig
    activation_checkpointing: bool
    """Recompute each block in the backward pass instead of keeping what it needs."""
    noise_scale: Tensor
    """Standard deviation of the noise, a scalar."""
    space: Space
    """What its numbers are of. No part of its weights."""
    call_block: Callable[..., Any] = staticmethod(call)
    """What calls a block with its inputs; see `blocks_called_by`."""
    averages: Mapping[str, Mapping[str, Tensor]] = NOTHING
    """Of its weights, by an average's name and a parameter's, for a loss that looks at them; while nothing keeps any they are
    the weights themselves. No part of its weights."""
    auxiliary: nn.ModuleDict
    """What terms of the loss train beside it, by the term's kind: from tokens [B, N, D] to what the term compares. It trains,
    averages and is saved with the network, and is no part of a model."""

    def tapped(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tapped:
        """The output with the tokens that each of `auxiliary` reads."""
        raise NotImplementedError(f"{type(self).__name__} has no blocks to read tokens after")


@contextmanager
def blocks_called_by(network: Network, compiled: Callable[..., Any]) -> Iterator[None]:
    """Within, each block of the network is called by `compiled`, of the block and its inputs."""
    before, network.call_block = network.call_block, compiled
    try:
        yield
    finally:
        network.call_block = before


def through(network: Network, block: nn.Module, *inputs: Any) -> Any:
    """What a block of the network makes of its inputs, kept or recomputed in the backward pass as the network says."""
    if network.activation_checkpointing and network.training:
        dropping = network.trial.model.drops
        return checkpoint(network.call_block, block, *inputs, use_reentrant=False, preserve_rng_state=dropping)
    return network.call_block(block, *inputs)


def in_precision(network: Network, x: Tensor) -> Tensor:
    """x in the residual stream's; float32 where the products are, as in the held-out error."""
    narrow = network.trial.residual == "bf16" and torch.is_autocast_enabled(x.device.type)
    return x.to(torch.bfloat16 if narrow else torch.float32)


def of_model(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights without what only its training has."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(f"{AUXILIARY}.")}
