"""The first rule of near-duplicates: a fixed distance between pixels, chained. It decided every split recorded so far.

A set of little contrast is one group by it; `split` falls back to the second rule then.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEAR_DUPLICATE_RMSE = 0.05
"""Two images closer than this, as root mean squared difference of pixels in [0, 1], are near-duplicates."""

_ROWS = 512


def near_duplicate_groups(images: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Partition 0..N-1 into the connected components of 'closer than NEAR_DUPLICATE_RMSE'. images [N, S, S, C]."""
    flat = images.reshape(len(images), -1)
    limit = (NEAR_DUPLICATE_RMSE * 255) ** 2 * flat.shape[1]
    groups = _Groups(len(images))
    for a, b in _candidates(images):
        first, second = groups.roots(a), groups.roots(b)
        for i, j in zip(a[first != second].tolist(), b[first != second].tolist(), strict=True):
            if groups.root(i) == groups.root(j):
                continue
            difference = flat[i].astype(np.int64) - flat[j]
            if int(difference @ difference) < limit:
                groups.join(i, j)
    roots = groups.roots(np.arange(len(images)))
    order = np.argsort(roots, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)


class _Groups:
    """What is joined with what; a group's root is its lowest index."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = int(self._parent[i])
        return i

    def roots(self, of: NDArray[np.int64]) -> NDArray[np.int64]:
        roots = self._parent[of]
        while not np.array_equal(higher := self._parent[roots], roots):
            roots = higher
        return roots

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low


def _candidates(images: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that may be near-duplicates, and all that are: a coarse distance, never larger than the true one, picks them."""
    coarse = _pooled(images)
    order = np.argsort(coarse.mean(1), kind="stable")
    coarse, brightness = coarse[order], coarse.mean(1)[order]
    for start in range(0, len(order), _ROWS):
        rows = coarse[start : start + _ROWS]
        stop = int(np.searchsorted(brightness, brightness[start : start + _ROWS][-1] + 1.01 * NEAR_DUPLICATE_RMSE, "right"))
        squared = _mean_squares(rows, coarse[start:stop])
        a, b = np.nonzero(np.triu(squared < (1.01 * NEAR_DUPLICATE_RMSE) ** 2, k=1))
        yield order[start + a], order[start + b]


def _pooled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Block means [N, d] in [0, 1]: a mean of squares is at least the square of the mean, so distances only shrink."""
    count, size, _, channels = images.shape
    blocks = next(blocks for blocks in range(8, 0, -1) if size % blocks == 0)
    shape = (count, blocks, size // blocks, blocks, size // blocks, channels)
    means: NDArray[np.float32] = images.reshape(shape).mean((2, 4), dtype=np.float32) / 255
    return means.reshape(count, -1)


def _mean_squares(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean squared difference [len(a), len(b)] of all rows."""
    squares: NDArray[np.float32] = ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T) / a.shape[1]
    return squares
