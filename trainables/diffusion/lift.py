"""Few channels lifted into a space of many dimensions, where a network sees them, and back."""

from functools import partial

import torch
from torch import Tensor

from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.process_caches import ProcessCache

_matrices: ProcessCache[tuple[int, int], Tensor] = ProcessCache("lifts")
"""By channels and dimensions."""


def lifted(x: Tensor, dimensions: int | None) -> Tensor:
    """x [B, C, 1, 1] -> [B, dimensions, 1, 1], by orthonormal columns that are the same for all trials; as it is without."""
    return x if dimensions is None else _mapped(x, matrix(x.shape[1], dimensions))


def lowered(x: Tensor, dimensions: int | None, *, channels: int) -> Tensor:
    """The way back: the projection [B, dimensions, 1, 1] -> [B, channels, 1, 1] onto what was lifted."""
    return x if dimensions is None else _mapped(x, matrix(channels, dimensions).T)


def matrix(channels: int, dimensions: int) -> Tensor:
    """Orthonormal columns, float32 [dimensions, channels]; channels <= dimensions."""
    return _matrices.get((channels, dimensions), make=partial(_made, channels, dimensions))


def _made(channels: int, dimensions: int) -> Tensor:
    normal = PhiloxDraws(0).normal(Purpose.LIFT, first=0, count=channels, shape=(dimensions,))
    columns: Tensor = torch.linalg.qr(normal.double().T).Q
    return columns.float().contiguous()


def _mapped(x: Tensor, by: Tensor) -> Tensor:
    return torch.einsum("bchw,dc->bdhw", x, by.to(x))
