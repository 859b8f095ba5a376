"""A prepared set as the `ImageSet` that a trainer and a scorer read from."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.errors import DataError
from trainables.data.prepared.prepared_set import Indices, PreparedSet


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Images by canonical index, gathered from shards."""

    prepared: PreparedSet

    @property
    def fingerprint(self) -> str:
        """Equal for equal images, labels and split."""
        return self.prepared.manifest.digest

    @property
    def heldout(self) -> NDArray[np.int64]:
        return self.prepared.heldout

    @functools.cached_property
    def train(self) -> NDArray[np.int64]:
        """Everything that is not held out."""
        return np.setdiff1d(np.arange(len(self)), self.heldout)

    def __len__(self) -> int:
        return self.prepared.count

    def read(self, indices: Indices) -> Tensor:
        """Images as uint8 [B, C, H, W] in the given order, a view of [B, H, W, C].

        DataError: they are not whole. OSError: they cannot be reached.
        """
        try:
            images = self.prepared.gather(indices)
        except ValueError as error:
            raise DataError(str(error)) from error
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def labels(self, indices: Indices) -> Tensor:
        """Class labels as int64 [B]."""
        return torch.from_numpy(self.prepared.labels[indices])
