"""The processes that train one trial together."""

from dataclasses import dataclass
from enum import IntFlag
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

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

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of every worker's tensor."""
        total = tensor.clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

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
