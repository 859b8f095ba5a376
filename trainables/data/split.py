"""Which images are held out: stratified by label, near-duplicates kept on one side, decided by content alone.

An image that is nearly another one must not sit on the other side of the split: a model that memorised its twin would
look as if it generalised.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.data.near_duplicates import LARGEST_GROUP, NEAR, bounded_groups, near_pairs
from trainables.data.pixel_distance import NEAR_DUPLICATE_RMSE, near_duplicate_groups
from trainables.data.thumbnails import Thumbnails

SEED = 0
"""Of the order in which images are looked at by `split_by_contrast`."""
BY_PIXELS = f"1: pixels closer than {NEAR_DUPLICATE_RMSE:g}, chained"
BY_CONTRAST = f"3: thumbnails closer than {NEAR:g} of their contrast, at most {LARGEST_GROUP} joined, seed {SEED}"
_AT_ONCE = 1024


class Split(NamedTuple):
    """The held-out images, and how they were chosen."""

    heldout: NDArray[np.int64]
    """[K] indices, rising."""
    rule: str
    """`BY_PIXELS` or `BY_CONTRAST`: equal texts choose equally."""


class _Unreachable(ValueError):
    """No choice of whole groups has so many images."""


def heldout_indices(images: NDArray[np.uint8], labels: NDArray[np.int64], *, count: int) -> NDArray[np.int64]:
    """The held-out images [count] of `split_images`, rising."""
    return split_images(images, labels, count=count).heldout


def split_images(images: NDArray[np.uint8], labels: NDArray[np.int64], *, count: int) -> Split:
    """The split of a set in memory by the first rule, or by the second where the first finds too large groups.

    images [N, S, S, C], labels [N]. ValueError: `count` cannot be reached.
    """
    _check_count(count, len(images))
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in images]
    try:
        groups = sorted(near_duplicate_groups(images), key=lambda group: min(hashes[i] for i in group))
        return Split(_chosen(groups, labels, count=count), BY_PIXELS)
    except _Unreachable:
        parts = [Thumbnails.of(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
        words = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, 32)
        return split_by_contrast(Thumbnails.joined(parts), words, labels, count=count)


def split_by_contrast(thumbnails: Thumbnails, hashes: NDArray[np.uint8], labels: NDArray[np.int64], *, count: int) -> Split:
    """The split by the second rule, of sets that fit no memory, too.

    Args:
        thumbnails: of the N images.
        hashes: uint8 [N, 32], of each image's pixels: they alone order the images.
        labels: [N].

    ValueError: `count` cannot be reached.
    """
    _check_count(count, len(labels))
    rank = _ranks(hashes)
    pairs = near_pairs(thumbnails.relative_to_the_set(), rank)
    of = bounded_groups(pairs, rank)
    order = np.lexsort((rank, of))
    groups = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
    groups.sort(key=lambda group: rank[group[0]])
    return Split(_chosen(groups, labels, count=count), BY_CONTRAST)


def _check_count(count: int, images: int) -> None:
    if not 2 <= count <= images // 2:
        rule = "`holdout` must be at least 2 and at most half of the images"
        remedy = f"try 2 to {images // 2}" if images >= 4 else "bring at least 4 images"
        raise ValueError(f"{rule}, got holdout={count} of {images}; {remedy}")


def _ranks(hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[N] places of the images in an order that their content and SEED decide."""
    salt = SEED.to_bytes(8, "little")
    keys = [hashlib.sha256(salt + row.tobytes()).digest() for row in hashes]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = np.arange(len(keys))
    return ranks


def _chosen(groups: list[NDArray[np.int64]], labels: NDArray[np.int64], *, count: int) -> NDArray[np.int64]:
    """The indices [count], rising.

    Groups are taken whole, in their order, while the quota of each label in them lasts; what is then missing is filled
    without regard to quotas. A label's last images are never taken. _Unreachable: other than `count` come of it.
    """
    left_over = np.bincount(labels)
    quotas = shares(left_over, count)
    taken = [np.empty(0, dtype=np.int64)]
    left: list[NDArray[np.int64]] = []
    for at, group in enumerate(groups):
        if not quotas.any():
            left += groups[at:]
            break
        wanted = np.bincount(labels[group], minlength=len(quotas))
        fits = bool((wanted <= quotas).all()) and not _empties(left_over, wanted)
        quotas, left_over = (quotas - wanted, left_over - wanted) if fits else (quotas, left_over)
        (taken if fits else left).append(group)
    chosen = np.concatenate([*taken, *_filling(left, int(quotas.sum()), labels, left_over)])
    if len(chosen) != count:
        rule = "`holdout` must be reachable without parting near-duplicates"
        remedy = f"try {len(chosen)}" if len(chosen) >= 2 else "remove near-duplicates from the set"
        raise _Unreachable(f"{rule}, got holdout={count} of {len(labels)} images in {len(groups)} groups; {remedy}")
    return np.sort(chosen)


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


def spread_evenly(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of some indices, evenly spread over their list."""
    return indices[np.arange(count) * len(indices) // count]
