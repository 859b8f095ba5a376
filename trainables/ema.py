"""Exponential moving average of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.config import EmaConfig


class Ema:
    """The averaged copy of a network's trainable parameters; buffers and frozen parameters have none.

    `tensors` holds it by parameter name, on the network's device; `updates` counts the updates so far.
    """

    def __init__(self, network: nn.Module, config: EmaConfig) -> None:
        self.config = config
        self.updates = 0
        self.tensors: dict[str, Tensor] = {name: p.detach().clone() for name, p in _trained(network).items()}
        self._network = network

    @torch.no_grad()
    def update(self) -> None:
        """Keep `decay_of(updates)` of the average and take the rest from the network."""
        keep = decay_of(self.updates, self.config)
        torch._foreach_lerp_(list(self.tensors.values()), list(_trained(self._network).values()), 1 - keep)
        self.updates += 1

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], *, updates: int) -> None:
        """Go on from a saved average.

        Raises:
            ValueError: when the names differ from the network's.
        """
        if tensors.keys() != self.tensors.keys():
            odd = sorted(tensors.keys() ^ self.tensors.keys())
            raise ValueError(f"the average's names must be the network's trainable parameters, got a difference in {odd[:4]}")
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.updates = updates

    @contextmanager
    def swapped(self, network: nn.Module) -> Iterator[None]:
        """Within it the network has the averaged weights; after it, its own again bit for bit, even when the body raises."""
        parameters = _trained(network)
        own = {name: p.detach().clone() for name, p in parameters.items()}
        _assign(parameters, self.tensors)
        try:
            yield
        finally:
            _assign(parameters, own)


def decay_of(update: int, config: EmaConfig) -> float:
    """b_k = min(b, (1 + k) / (10 + k)) of update k = 0, 1, ...; b without warm-up, as the official JiT code has it."""
    return min(config.decay, (1 + update) / (10 + update)) if config.warmup else config.decay


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


@torch.no_grad()
def _assign(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
