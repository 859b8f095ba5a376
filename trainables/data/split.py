"""Which images are held out: stratified by label, near-duplicates kept on one side, decided by content alone.

An image that is nearly another one must not sit on the other side of the split: a model that memorised its twin would
look as if it generalised.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEAR_DUPLICATE_RMSE = 0.05
"""Two images closer than this, as root mean squared difference of pixels in [0, 1], are near-duplicates."""

_ROWS = 512


def heldout_indices(images: NDArray[np.uint8], labels: NDArray[np.int64], *, count: int) -> NDArray[np.int64]:
    """The indices [count] of the held-out images, rising. images [N, S, S, C], labels [N].

    Groups of near-duplicates are taken whole, in an order that only their pixels decide, while the quota of each label in
    them lasts; what is then missing is filled without regard to quotas. A label's last images are never taken.
    ValueError: `count` cannot be reached.
    """
    if not 2 <= count <= len(images) // 2:
        rule = "`holdout` must be at least 2 and at most half of the images"
        remedy = f"try 2 to {len(images) // 2}" if len(images) >= 4 else "bring at least 4 images"
        raise ValueError(f"{rule}, got holdout={count} of {len(images)}; {remedy}")
    groups = _in_content_order(near_duplicate_groups(images), images)
    left_over = np.bincount(labels)
    quotas = shares(left_over, count)
    taken = [np.empty(0, dtype=np.int64)]
    left: list[NDArray[np.int64]] = []
    for group in groups:
        wanted = np.bincount(labels[group], minlength=len(quotas))
        fits = bool((wanted <= quotas).all()) and not _empties(left_over, wanted)
        quotas, left_over = (quotas - wanted, left_over - wanted) if fits else (quotas, left_over)
        (taken if fits else left).append(group)
    chosen = np.concatenate([*taken, *_filling(left, int(quotas.sum()), labels, left_over)])
    if len(chosen) != count:
        rule = "`holdout` must be reachable without parting near-duplicates"
        remedy = f"try {len(chosen)}" if len(chosen) >= 2 else "remove near-duplicates from the set"
        raise ValueError(f"{rule}, got holdout={count} of {len(images)} images in {len(groups)} groups; {remedy}")
    return np.sort(chosen)


def near_duplicate_groups(images: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Partition 0..N-1 into the connected components of 'closer than NEAR_DUPLICATE_RMSE'. images [N, S, S, C]."""
    parent = np.arange(len(images))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for a, b in _near_pairs(images):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    roots = np.array([root(i) for i in range(len(images))])
    order = np.argsort(roots, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)


def _near_pairs(images: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Every near-duplicate pair. A coarse distance, never larger than the true one, picks candidates; integers decide."""
    flat = images.reshape(len(images), -1)
    coarse = _pooled(images)
    order = np.argsort(coarse.mean(1), kind="stable")
    coarse, brightness = coarse[order], coarse.mean(1)[order]
    limit = (NEAR_DUPLICATE_RMSE * 255) ** 2 * flat.shape[1]
    for start in range(0, len(order), _ROWS):
        rows = coarse[start : start + _ROWS]
        stop = int(np.searchsorted(brightness, brightness[start : start + _ROWS][-1] + 1.01 * NEAR_DUPLICATE_RMSE, "right"))
        squared = _mean_squares(rows, coarse[start:stop])
        for a, b in zip(*np.nonzero(np.triu(squared < (1.01 * NEAR_DUPLICATE_RMSE) ** 2, k=1)), strict=True):
            i, j = int(order[start + a]), int(order[start + b])
            difference = flat[i].astype(np.int64) - flat[j]
            if int(difference @ difference) < limit:
                yield i, j


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


def _in_content_order(groups: list[NDArray[np.int64]], images: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Sorted by the smallest hash in each group: the order of the file does not matter."""
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return sorted(groups, key=lambda group: min(hashes[i] for i in group))


def shares(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """`total` shared out in proportion to `counts`, by largest remainders; ties go to the lower label."""
    exact = counts * total / counts.sum()
    quotas: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    most_missing = np.argsort(quotas - exact, kind="stable")[: total - quotas.sum()]
    quotas[most_missing] += 1
    return quotas


def _filling(
    groups: list[NDArray[np.int64]], missing: int, labels: NDArray[np.int64], left_over: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The first groups that together hold at most `missing` images and leave some of every label."""
    filling = []
    for group in groups:
        wanted = np.bincount(labels[group], minlength=len(left_over))
        if len(group) <= missing and not _empties(left_over, wanted):
            filling.append(group)
            missing -= len(group)
            left_over = left_over - wanted
    return filling


def _empties(left_over: NDArray[np.int64], wanted: NDArray[np.int64]) -> bool:
    """Whether taking so many of each label leaves none of one."""
    return bool(((wanted > 0) & (wanted == left_over)).any())
