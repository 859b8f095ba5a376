"""What a trial must know of itself, kept on its device and read rarely: reading makes the host wait for the device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.workers import Workers

BINS = 20
"""Equal intervals of t."""


@dataclass(frozen=True)
class Divergence:
    """The first update whose loss was not finite, and which of its images were not, by t."""

    step: int
    bad_t: tuple[int, ...]
    """Images without a finite loss in each of `BINS` intervals of t."""


class Health:
    """Losses as they come, and the moment from which on they are no numbers."""

    def __init__(self, device: torch.device) -> None:
        self.diverged = torch.zeros((), device=device)
        """float32, 1 from the first bad update on: the optimiser skips its steps by it."""
        self._first_bad_step = torch.zeros((), dtype=torch.int64, device=device)
        self._bad_t = torch.zeros(BINS, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._updates = 0

    def see_images(self, losses: Tensor, t: Tensor) -> None:
        """Losses and times of a micro-batch, [B] each; counted until the first bad update is over."""
        bad = ~torch.isfinite(losses) & (self.diverged == 0)
        self._bad_t.index_add_(0, (t * BINS).long().clamp(max=BINS - 1), bad.float())

    def see_update(self, loss: Tensor, *, step: int) -> None:
        """The whole update's mean loss, a scalar."""
        bad = ~torch.isfinite(loss)
        self._first_bad_step = torch.where(bad & (self.diverged == 0), step, self._first_bad_step)
        self.diverged.copy_(torch.maximum(self.diverged, bad.float()))
        self._loss_sum += loss.double()
        self._updates += 1

    def divergence(self, workers: Workers) -> Divergence | None:
        """None while all is well. Waits for the device; every worker asks at the same update."""
        if not float(self.diverged):
            return None
        bad_t = workers.summed(self._bad_t)
        return Divergence(step=int(self._first_bad_step), bad_t=tuple(int(count) for count in bad_t.tolist()))

    def mean_loss(self) -> float:
        """Mean loss since the last call. Waits for the device."""
        mean = float(self._loss_sum) / max(1, self._updates)
        self._loss_sum.zero_()
        self._updates = 0
        return mean
