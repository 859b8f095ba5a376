"""Patches lifted into a space of more dimensions, where they are noised and predicted, and back.

What is lifted has one position a patch: an image of grid x grid pixels of as many channels as there are dimensions, which a
network cuts into patches of one.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.process_caches import ProcessCache

_matrices: ProcessCache[tuple[int, int, torch.device], Tensor] = ProcessCache("lifts")
"""By the numbers of a patch, dimensions and device."""


@dataclass(frozen=True)
class Lift:
    """The lift of patches of `channels` x `patch_size`^2 numbers to so many dimensions; None: everything stays as it is."""

    channels: int = 3
    patch_size: int = 1
    dimensions: int | None = None

    def up(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> [B, dimensions, H / p, W / p], by orthonormal columns that are the same for all trials."""
        if self.dimensions is None:
            return x
        return _mapped(F.pixel_unshuffle(x, self.patch_size), self._matrix(x.device))

    def down(self, x: Tensor) -> Tensor:
        """The way back: the projection [B, dimensions, h, w] -> [B, C, h p, w p] onto what was lifted."""
        if self.dimensions is None:
            return x
        return F.pixel_shuffle(_mapped(x, self._matrix(x.device).T), self.patch_size)

    def _matrix(self, device: torch.device) -> Tensor:
        assert self.dimensions is not None
        numbers, dimensions = self.channels * self.patch_size**2, self.dimensions
        made = partial(_matrix_on, device, numbers=numbers, dimensions=dimensions)
        return _matrices.get((numbers, dimensions, device), make=made)


AS_IT_IS = Lift()


def lift_of(trial: TrialConfig) -> Lift:
    """How a trial lifts what its network sees."""
    return Lift(trial.canvas.channels, trial.model.patch_size, trial.diffusion.dimensions)


def _matrix_on(device: torch.device, *, numbers: int, dimensions: int) -> Tensor:
    return matrix(numbers, dimensions).to(device)


def matrix(numbers: int, dimensions: int) -> Tensor:
    """Orthonormal columns, float32 [dimensions, numbers]; numbers <= dimensions."""
    normal = PhiloxDraws(0).normal(Purpose.LIFT, first=0, count=numbers, shape=(dimensions,))
    columns: Tensor = torch.linalg.qr(normal.double().T).Q
    return columns.float().contiguous()


def _mapped(x: Tensor, by: Tensor) -> Tensor:
    """In the precision of x: autocast would round images."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.einsum("bchw,dc->bdhw", x, by.to(x.dtype))
