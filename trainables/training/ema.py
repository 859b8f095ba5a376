"""Exponential moving averages of the trained weights, several side by side."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.config.average import RAW, EmaConfig, decay_of


class Averages:
    """The averaged copies of a network's trainable parameters; buffers and frozen parameters have none.

    `tensors` holds them by the average's name and the parameter's, on the network's device; `updates` counts the updates.
    """

    def __init__(self, network: nn.Module, averages: Sequence[EmaConfig], *, batch_size: int) -> None:
        self.updates = 0
        self.tensors: dict[str, dict[str, Tensor]] = {
            average.name: {name: p.detach().clone() for name, p in trained(network).items()} for average in averages
        }
        self._averages = averages
        self._batch_size = batch_size
        self._network = network
        self._own: list[Tensor] = list(trained(network).values())

    @torch.no_grad()
    def update(self) -> None:
        """Keep `decay_of(updates)` of each average and take the rest from the network."""
        for average in self._averages:
            keep = decay_of(self.updates, average, batch_size=self._batch_size)
            torch._foreach_lerp_(list(self.tensors[average.name].values()), self._own, 1 - keep)
        self.updates += 1

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], *, updates: int) -> None:
        """Go on from saved averages, by name.

        ValueError: a name is not the network's, or one is missing.
        """
        for name, average in self.tensors.items():
            saved = tensors.get(name, {})
            if saved.keys() != average.keys():
                rule = f"the average {name!r} must have the network's trainable parameters"
                raise ValueError(f"{rule}, got a difference in {sorted(saved.keys() ^ average.keys())[:4]}")
            assign(average, saved)
        self.updates = updates

    @contextmanager
    def swapped(self, name: str) -> Iterator[None]:
        """Within it the network has the weights of this name; after it, its own bit for bit, even when the body raises."""
        if name == RAW:
            yield
            return
        parameters = trained(self._network)
        own = {name: p.detach().clone() for name, p in parameters.items()}
        assign(parameters, self.tensors[name])
        try:
            yield
        finally:
            assign(parameters, own)


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """A network's trainable parameters by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


@torch.no_grad()
def assign(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Overwrite every tensor with the one of its name."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
