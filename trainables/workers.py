"""The processes that train one trial together."""

from dataclasses import dataclass
from enum import IntFlag
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


class Ask(IntFlag):
    """What the lead wants done after an update; every worker must do it at the same one."""

    NOTHING = 0
    LOOK = 1
    SAVE = 2
    STOP = 4


@dataclass(frozen=True)
class Workers:
    """This process's place among the workers of a trial; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def lead(self) -> bool:
        """Whether this process speaks for the trial."""
        return self.rank == 0

    def sum_gradients(self, network: nn.Module, loss: Tensor, *, ask: Ask) -> Ask:
        """Sum gradients and loss over the workers in place, and share the lead's ask, in one collective. Returns the ask."""
        if self.size == 1:
            return ask
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        asked = torch.full_like(loss, float(ask if self.lead else Ask.NOTHING))
        flat = torch.cat([*(g.flatten() for g in gradients), loss[None], asked[None]])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat[:-2].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))
        loss.copy_(flat[-2])
        return Ask(int(flat[-1]))

    def agree(self, value: T) -> T:
        """The lead's value, on every worker."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def global_settings() -> dict[str, object]:
    """torch's process-wide settings that change numbers: a trial must find and leave them as a fresh process has them."""
    return {
        "default_dtype": torch.get_default_dtype(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "threads": torch.get_num_threads(),
    }
