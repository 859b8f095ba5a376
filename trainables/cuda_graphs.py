"""Work on a GPU that is recorded once as a CUDA graph and replayed: the host starts all of its kernels at once.

A graph holds the places of the tensors that its kernels read and write, and numbers that the host gave them: what differs
between two replays must lie in a tensor that stays where it is. What Python does beside the kernels is not replayed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from trainables.process_caches import ProcessCache

T = TypeVar("T")

_streams: ProcessCache[torch.device, torch.cuda.Stream] = ProcessCache("recording streams")
"""One a device: cuBLAS keeps a workspace for every stream that it has worked on."""


@dataclass(frozen=True)
class Recording(Generic[T]):
    """Recorded work: the places of its inputs, and what it returned, which every replay writes anew."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: T

    def replay(self, *inputs: Tensor) -> T:
        """Do the work on these inputs, on the current stream and without waiting; pinned memory is copied from as it comes."""
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.output


class Recorder:
    """Records work on one device. Its recordings share their memory, so only one of them may be at work at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _streams.get(device, make=lambda: torch.cuda.Stream(device))
        self._pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Callable[..., T], *inputs: Tensor) -> T:
        """Do the work as it comes, where it will be recorded: what is made on first use cannot be recorded."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            output = work(*(given.to(self._device, non_blocking=True) for given in inputs))
        current.wait_stream(self._stream)
        return output

    def record(self, work: Callable[..., T], *inputs: Tensor) -> Recording[T]:
        """The work on inputs like these, recorded and not yet done. ValueError: a kernel of it cannot be recorded."""
        places = tuple(torch.empty_like(given, device=self._device) for given in inputs)
        for place, given in zip(places, inputs, strict=True):
            place.copy_(given, non_blocking=True)
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        # thread_local: a process group's watchdog asks for its events meanwhile.
        onto = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        try:
            # The outer one, because a recording that fails leaves its stream the current one.
            with torch.cuda.stream(current), onto:
                output = work(*places)
        except RuntimeError as error:
            reason = str(error.__context__ or error).strip().partition("\n")[0]
            rule = "`graphs` needs kernels that a CUDA graph can hold"
            raise ValueError(f"{rule}, got one that cannot be recorded ({reason}); try graphs=false") from error
        return Recording(graph, places, output)
