"""How many directions the patches of images fill: what a token holds, beside the numbers that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.data.image_set import ImageSet

MOST_PATCHES = 65_536
"""Patches that are looked at, of images spread evenly over the training split."""
_AT_ONCE = 64


def effective_rank(images: ImageSet, patch_size: int) -> float:
    """exp of the entropy of the eigenvalues, over their sum, of the covariance of the training images' patches (after Roy and
    Vetterli 2007, who have singular values): 1 where all vary along one line, C patch_size^2 where they vary alike everywhere.
    """
    tokens = (images.read(images.train[:1]).shape[-1] // patch_size) ** 2
    count = min(len(images.train), max(1, MOST_PATCHES // tokens))
    chosen = images.train[np.arange(count) * len(images.train) // count]
    total: NDArray[np.float64] | float = 0.0
    products: NDArray[np.float64] | float = 0.0
    for first in range(0, count, _AT_ONCE):
        patches = _patches(images.read(chosen[first : first + _AT_ONCE]).numpy(), patch_size)
        total, products = total + patches.sum(0), products + patches.T @ patches
    mean = np.asarray(total) / (count * tokens)
    return rank_of(np.asarray(products) / (count * tokens) - np.outer(mean, mean))


def rank_of(covariance: NDArray[np.float64]) -> float:
    """exp of the entropy of its spectrum; 0 where nothing varies."""
    spectrum = np.linalg.eigvalsh(covariance).clip(min=0)
    if not spectrum.sum():
        return 0.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _patches(images: NDArray[np.uint8], patch: int) -> NDArray[np.float64]:
    """[B, C, H, W] -> [B N, C patch^2], in the range -1 to 1."""
    count, channels, side, _ = images.shape
    grid = side // patch
    cut = images.reshape(count, channels, grid, patch, grid, patch).transpose(0, 2, 4, 1, 3, 5)
    return cut.reshape(count * grid * grid, channels * patch * patch) / 127.5 - 1
