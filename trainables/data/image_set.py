"""What a trainer and a scorer ask of a set of images. Any reader that offers this can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class ImageSet(Protocol):
    """Square images of one size with class labels and a fixed split into training and held-out images."""

    @property
    def fingerprint(self) -> str:
        """Content hash of the images, labels and held-out list."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Indices of the training images, rising."""

    @property
    def heldout(self) -> NDArray[np.int64]:
        """Indices of the held-out images, rising."""

    def __len__(self) -> int:
        """Images of both splits."""

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Images as uint8 [B, C, H, W], in the given order; in memory they may lie channels last, as they are stored."""

    def labels(self, indices: NDArray[np.int64]) -> Tensor:
        """Class labels as int64 [B]."""
