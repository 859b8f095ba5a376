"""What the next updates need of the host, fetched on a thread while the device computes this one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from torch import Tensor


class BatchPiece(NamedTuple):
    """Images first..first+size-1 of a trial's sequence."""

    first: int
    size: int


Fetch = Callable[[int, int], tuple[Tensor, ...]]


class Ahead:
    """Answers as `fetch` would, and has the next pieces ready. `fetch` runs on one thread, a piece at a time.

    What is fetched is a function of the piece alone, so nothing here changes a number. What `fetch` raises is raised by `take`
    of its piece.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        # Its thread ends once nothing refers to the executor any more.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="data")
        self._coming: dict[BatchPiece, Future[tuple[Tensor, ...]]] = {}

    def take(self, piece: BatchPiece, *, then: Sequence[BatchPiece]) -> tuple[Tensor, ...]:
        """What `fetch` answers for this piece; what will be asked for `then` is fetched meanwhile, and nothing else kept."""
        for due in (piece, *then):
            if due not in self._coming:
                self._coming[due] = self._thread.submit(self._fetch, *due)
        for stale in self._coming.keys() - {piece, *then}:
            self._coming.pop(stale).cancel()
        return self._coming.pop(piece).result()
