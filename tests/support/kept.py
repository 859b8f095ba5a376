"""What autograd keeps of a forward pass, to hold the memory model against."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.support.trials import batch, moved
from trainables.config.trial import TrialConfig


def kept_by_autograd(trial: TrialConfig, *, images: int) -> int:
    """Bytes of the distinct storages that a forward pass on this machine keeps for its backward pass."""
    with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bf16"):
        return bytes_kept(moved(trial).train(), *batch(images))


def bytes_kept(network: nn.Module, z: Tensor, t: Tensor, y: Tensor) -> int:
    """The same of a network and what it is given."""
    return bytes_kept_by(network, lambda: network(z, t, y))


def bytes_kept_by(network: nn.Module, forward: Callable[[], Tensor]) -> int:
    """The same of a forward pass of its own."""
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
        output.square().mean().backward()
    return sum(kept.values())
