"""The processes that train one trial together."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from enum import IntFlag
from functools import partial
from typing import Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
MEET_S = 5.0
"""While the lead is busy alone, the workers meet this often: a collective that waited for it would run into its time-out."""


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

    def gathered(self, value: T) -> list[T]:
        """Every worker's value by rank, on every worker."""
        if self.size == 1:
            return [value]
        boxes: list[T | None] = [None] * self.size
        dist.all_gather_object(boxes, value)
        return boxes  # type: ignore[return-value]

    def awaited(self, work: Callable[[], T]) -> T:
        """What the lead's `work` returns, or raises, on every worker, however long that takes; the others do none."""
        if self.size == 1:
            return work()
        with ThreadPoolExecutor(max_workers=1, initializer=_on_this_device()) as thread:
            under_way = thread.submit(work) if self.lead else None
            while (outcome := self.agree(_outcome(under_way))) is None:
                pass
        if isinstance(outcome.value, Exception):
            raise outcome.value
        return outcome.value


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """What a work returned, or raised."""

    value: T | Exception


def _outcome(under_way: "Future[T] | None") -> _Outcome[T] | None:
    """None while it is under way, and on those that do none."""
    if under_way is None or not wait_for([under_way], timeout=MEET_S).done:
        return None
    error = under_way.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return _Outcome(under_way.result() if error is None else error)


def _on_this_device() -> Callable[[], None]:
    """Gives another thread this one's GPU: each begins with the first."""
    if not torch.cuda.is_available():
        return lambda: None
    return partial(torch.cuda.set_device, torch.cuda.current_device())


def global_settings() -> dict[str, object]:
    """torch's process-wide settings that change numbers: a trial must find and leave them as a fresh process has them."""
    return {
        "default_dtype": torch.get_default_dtype(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "threads": torch.get_num_threads(),
    }
