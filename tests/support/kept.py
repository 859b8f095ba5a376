"""What autograd keeps of a forward pass, to hold the memory model against."""

import torch
from torch import Tensor

from tests.support.trials import batch, moved
from trainables.config.trial import TrialConfig


def kept_by_autograd(trial: TrialConfig, *, images: int) -> int:
    """Bytes of the distinct storages that a forward pass on this machine keeps for its backward pass."""
    network = moved(trial).train()
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
        with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bf16"):
            output = network(*batch(images))
        output.square().mean().backward()
    return sum(kept.values())
