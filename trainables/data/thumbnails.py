"""What the search for near-duplicates sees of an image: 8 x 8 block means relative to the image's own contrast.

Brightness is taken out by the mean, and contrast by the standard deviation, so that an image stays near a copy that was
re-encoded, brightened or stretched. Four shifted thumbnails beside the image's own bring a shifted copy near, too. All numbers
are small integers, so that distances are exact and equal on every machine.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

BLOCKS = 8
"""Blocks a side, at most."""
SHIFTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
"""Down and right; the opposite of each is found from the other image's side."""
SHIFT_SHARE = 64
"""A shift is this fraction of the image's side, and at least a pixel."""
SCALE = 24
"""Thumbnails are stored in 1 / SCALE of an image's contrast, and cut off at +-127 of them."""
LEAST_CONTRAST = 0.7
"""An image with less contrast than this share of the set's is compared as if it had as much: what is all but flat differs
from other flat images by noise alone."""


class Thumbnails(NamedTuple):
    """The thumbnails of a set's images, in the set's order."""

    values: NDArray[np.int8]
    """[N, len(SHIFTS), d]; each shift's mean is 0, and the standard deviation of the first SCALE."""
    contrasts: NDArray[np.uint16]
    """[N] standard deviation of the block means, 65535 for a pixel range."""

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Self:
        """Of images [n, S, S, C]."""
        shifted = _block_means(images)
        shifted -= shifted.mean(2, keepdims=True)
        contrast = shifted[:, 0].std(1)
        scaled = shifted * (SCALE / np.maximum(contrast, 1 / 65535))[:, None, None]
        values = np.rint(scaled).clip(-127, 127).astype(np.int8)
        return cls(values, np.rint(contrast * 65535).astype(np.uint16))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Of all parts, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def relative_to_the_set(self) -> NDArray[np.int8]:
        """[N, len(SHIFTS), d]: thumbnails of little contrast made as small as they are beside the set's."""
        squares = (self.contrasts.astype(np.int64) ** 2).sum()
        least = LEAST_CONTRAST * float(squares / len(self.contrasts)) ** 0.5
        values = self.values.copy()
        low = np.flatnonzero(self.contrasts < least)
        for rows in np.array_split(low, len(low) // 4096 + 1):
            shares = self.contrasts[rows].astype(np.float64) / max(least, 1.0)
            values[rows] = np.rint(values[rows] * shares[:, None, None]).astype(np.int8)
        return values


def _block_means(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[n, S, S, C] -> [n, len(SHIFTS), d] in [0, 1]. Sums of whole numbers, which float32 holds exactly."""
    count, side, _, channels = images.shape
    down, right = (_block_sums(side, sorted({shift[axis] for shift in SHIFTS})) for axis in (0, 1))
    rows = down.reshape(-1, side) @ images.reshape(count, side, -1).astype(np.float32)
    rows = rows.reshape(count, -1, side, channels).swapaxes(2, 3)
    sums = (rows @ right.reshape(-1, side).T).reshape(count, len(down), -1, channels, len(right), right.shape[1])
    chosen = [sums[:, shift[0], :, :, shift[1] + 1] for shift in SHIFTS]
    areas = down[0].sum(1)[:, None, None] * right[1].sum(1)
    means: NDArray[np.float32] = (np.stack(chosen, axis=1) / (255 * areas)).reshape(count, len(SHIFTS), -1).astype(np.float32)
    return means


def _block_sums(side: int, shifts: list[int]) -> NDArray[np.float32]:
    """[len(shifts), blocks, side]: how often each pixel counts in each block of a shifted image, whose edge is repeated.

    Blocks of a side that 8 does not divide differ in size by a pixel.
    """
    blocks, pixels = min(BLOCKS, side), max(1, side // SHIFT_SHARE)
    edges = [*(np.arange(blocks) * side // blocks), side]
    sums = np.zeros((len(shifts), blocks, side), dtype=np.float32)
    for at, steps in enumerate(shifts):
        source = np.clip(np.arange(side) - pixels * steps, 0, side - 1)
        for block in range(blocks):
            np.add.at(sums[at, block], source[edges[block] : edges[block + 1]], 1.0)
    return sums
