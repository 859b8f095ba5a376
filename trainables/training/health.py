"""Loss, gradient norm and divergence of a trial, kept on its device and read rarely: reading makes the host wait for it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.training.workers import Workers

BINS = 20
"""Equal intervals of t."""


@dataclass(frozen=True)
class Divergence:
    """The first update whose loss or gradient was not finite."""

    step: int
    bad_t: tuple[int, ...]
    """Its images without a finite loss, in each of `BINS` intervals of t; none where only the gradient was not finite."""
    grad_norm: float | None
    """Norm of the gradient of the update before it; None of the first update."""

    def __str__(self) -> str:
        bad = sum(self.bad_t)
        worst = max(range(len(self.bad_t)), key=self.bad_t.__getitem__, default=0)
        where = (
            f" for {bad} images, most at t = {worst / BINS:.2f} to {(worst + 1) / BINS:.2f}"
            if bad
            else " in its gradient alone"
        )
        norm = f"; the gradient's norm was {self.grad_norm:.3g} before it" if self.grad_norm is not None else ""
        return f"the loss was not finite at step {self.step}{where}{norm}"


class Health:
    """The running mean loss, the last finite gradient norm, and the first update at which one of the two was not finite.

    Its tensors stay where they are, so that what is seen can be replayed.
    """

    def __init__(self, device: torch.device) -> None:
        self.diverged = torch.zeros((), device=device)
        """float32, 1 from the first bad update on: the optimiser skips its steps by it."""
        self._first_bad_step = torch.zeros((), dtype=torch.int64, device=device)
        self._grad_norm = torch.full((), torch.nan, device=device)
        self._bad_t = torch.zeros(BINS, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._updates = torch.zeros((), dtype=torch.float64, device=device)

    def see_images(self, losses: Tensor, t: Tensor) -> None:
        """Losses and times of a micro-batch, [B] each; counted until the first bad update is over."""
        bad = ~torch.isfinite(losses) & (self.diverged == 0)
        self._bad_t.index_add_(0, (t * BINS).long().clamp(max=BINS - 1), bad.float())

    def see_update(self, loss: Tensor, *, grad_norm: Tensor, step: Tensor) -> None:
        """The whole update's mean loss, the norm of its gradient, and which one it is, int64: scalars on the device."""
        bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        self._first_bad_step.copy_(torch.where(bad & (self.diverged == 0), step, self._first_bad_step))
        self._grad_norm.copy_(torch.where(bad | (self.diverged != 0), self._grad_norm, grad_norm))
        self.diverged.copy_(torch.maximum(self.diverged, bad.float()))
        self._loss_sum += loss.double()
        self._updates += 1

    def divergence(self, workers: Workers) -> Divergence | None:
        """None while every loss and gradient was finite. Waits for the device; every worker asks at the same update."""
        if not float(self.diverged):
            return None
        bad_t = workers.summed(self._bad_t)
        counts = tuple(int(count) for count in bad_t.tolist())
        return Divergence(step=int(self._first_bad_step), bad_t=counts, grad_norm=self.grad_norm())

    def grad_norm(self) -> float | None:
        """The gradient's norm at the last sound update; None before the first. Waits for the device."""
        norm = float(self._grad_norm)
        return None if math.isnan(norm) else norm

    def mean_loss(self) -> float:
        """Mean loss since the last call. Waits for the device."""
        mean = float(self._loss_sum / self._updates.clamp(min=1))
        self._loss_sum.zero_()
        self._updates.zero_()
        return mean
