"""Pixels in memory: what a trainer and a scorer read from."""

import functools
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.arrays import Arrays

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """A whole set in memory."""

    pixels: NDArray[np.uint8]
    """[N, H, W, C], as it was read: a second copy in another order would double what every worker holds."""
    classes: Tensor
    """int64 [N]."""
    heldout: Indices
    fingerprint: str

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """The same images."""
        return cls(
            pixels=arrays.images, classes=torch.from_numpy(arrays.labels), heldout=arrays.heldout, fingerprint=arrays.digest
        )

    def __len__(self) -> int:
        return len(self.pixels)

    @functools.cached_property
    def train(self) -> Indices:
        """Everything that is not held out."""
        return np.setdiff1d(np.arange(len(self.pixels)), self.heldout)

    def read(self, indices: Indices) -> Tensor:
        """Images as uint8 [B, C, H, W] in the given order, a view of [B, H, W, C]."""
        return torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2)

    def labels(self, indices: Indices) -> Tensor:
        """Class labels as int64 [B]."""
        return self.classes[torch.from_numpy(indices)]
