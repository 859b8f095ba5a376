"""Groups of near-duplicates among a set's thumbnails: all pairs of a small set, the likely ones of a large set."""

from collections.abc import Iterator
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.data.thumbnails import SCALE

NEAR = 0.25
"""Two thumbnails are near where their root mean squared difference is below this share of the contrast."""
LARGEST_GROUP = 32
"""Images of a group, at most: single linkage would chain a set of much alike images into one."""
EXACT_BELOW = 4096
"""Sets of fewer images are searched pair by pair."""
BITS = 64
"""Signs of projections that a thumbnail is sorted by."""
TABLES = 12
"""Orders of these bits that are sorted by."""
LEAST_WINDOW, MOST_WINDOW, COMPARED = 8, 96, 2**21
"""Thumbnails that each is compared with in a sorted table: more in a small set, whose images crowd less."""
MOST_FLIPPED = 16
"""Bits in which a near pair may differ; the distance decides among those below."""
MOST_NEIGHBOURS = 32
"""Closest pairs that are kept of an image with many."""
_ROWS = 1024
_THRESHOLD = 0.5
"""Standard deviation of the thresholds of the bits, in that of a projection."""


class Pairs(NamedTuple):
    """Near pairs by index, low < high, each once."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    distance: NDArray[np.int64]
    """Sum of squared differences of the nearest of their shifts."""


def near_pairs(values: NDArray[np.int8], rank: NDArray[np.int64]) -> Pairs:
    """The near pairs of thumbnails [N, shifts, d]; `rank` [N] orders the images where the search must choose."""
    if len(values) < EXACT_BELOW:
        return _distinct(list(_all_pairs(values)))
    return likely_pairs(values, rank)


def _limit(values: NDArray[np.int8]) -> float:
    return float(NEAR**2 * SCALE**2 * values.shape[2])


def _all_pairs(values: NDArray[np.int8]) -> Iterator[Pairs]:
    """float32 holds the sums of squares exactly: 4 x 192 x 127^2 is below 2^24."""
    own = values[:, 0].astype(np.float32)
    own_squares = (own * own).sum(1)
    for shift in range(values.shape[1]):
        moved = values[:, shift].astype(np.float32)
        squares = (moved * moved).sum(1)
        for start in range(0, len(own), _ROWS):
            rows = slice(start, start + _ROWS)
            apart = own_squares[rows, None] + squares - 2 * own[rows] @ moved.T
            a, b = np.nonzero(apart < _limit(values))
            yield _ordered(a + start, b, apart[a, b].astype(np.int64))


def likely_pairs(values: NDArray[np.int8], rank: NDArray[np.int64]) -> Pairs:
    """Near pairs among neighbours in sorted tables: time and memory grow with N log N, whatever the images are.

    Thumbnails are sorted by their bits, in another order of the bits in each table (Charikar 2002, "Similarity estimation
    techniques from rounding algorithms"; Manku et al. 2007 search near-duplicates of web pages so).
    """
    codes = np.stack([_codes(values[:, shift]) for shift in range(values.shape[1])])
    orders = np.random.default_rng(0)
    kept, coarse = _distinct([]), _coarse(values)
    for _ in range(TABLES):
        bits = orders.permutation(BITS)
        found = [kept]
        for shift in range(values.shape[1]):
            a, b = _neighbours(codes[0], codes[shift], bits, rank)
            found.append(_verified(values, coarse, a, b, shift))
        kept = _closest(_distinct(found), len(values))
    return kept


def _codes(thumbnails: NDArray[np.int8]) -> NDArray[np.uint8]:
    """[N, d] -> [N, BITS / 8]: whether each projection is above its threshold. float32 holds them exactly: equal everywhere."""
    projections = _projections(thumbnails.shape[1])
    lengths = np.sqrt((projections**2).sum(0))
    # Thresholds apart from 0 tell a flat image from one of much contrast.
    thresholds = np.rint(np.random.default_rng(1).standard_normal(BITS) * _THRESHOLD * SCALE * lengths)
    signs = np.empty((len(thumbnails), BITS // 8), dtype=np.uint8)
    for start in range(0, len(thumbnails), 65536):
        rows = slice(start, start + 65536)
        signs[rows] = np.packbits(thumbnails[rows].astype(np.float32) @ projections > thresholds, axis=1)
    return signs


def _projections(dimensions: int) -> NDArray[np.float32]:
    """[d, BITS] whole numbers in -127..127: random smooth patterns, since what two images share is in their coarse features."""
    random = np.random.default_rng(0)
    side, channels = _sides(dimensions)
    down, right = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    radius = np.hypot(down, right)
    spectrum = np.where((radius > 0) & (radius < 5), np.sqrt(radius), 0.0)
    waves = random.standard_normal((BITS, side, channels, side)) * spectrum[:, None]
    cosines = np.cos(np.pi * np.outer(np.arange(side), np.arange(side) + 0.5) / side)
    patterns = np.einsum("nkcl,ki,lj->nicj", waves, cosines, cosines).reshape(BITS, -1)
    largest = np.maximum(np.abs(patterns).max(1, keepdims=True), 1e-9)
    whole: NDArray[np.float32] = np.rint(patterns / largest * 127).astype(np.float32).T
    return whole


def _sides(dimensions: int) -> tuple[int, int]:
    """Blocks a side and channels of thumbnails of so many numbers; thrice a square is never a square."""
    side = isqrt(dimensions)
    return (side, 1) if side * side == dimensions else (isqrt(dimensions // 3), 3)


def _neighbours(
    own: NDArray[np.uint8], moved: NDArray[np.uint8], bits: NDArray[np.int64], rank: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images a, and images b whose shifted thumbnails stand beside theirs when sorted by these bits."""
    both = own if moved is own else np.concatenate([own, moved])
    words = _reordered(both, bits)
    count, order = len(own), np.lexsort((np.resize(rank, len(both)), words))
    sorted_words = words[order]
    found = []
    for step in range(1, max(LEAST_WINDOW, min(MOST_WINDOW, COMPARED // count)) + 1):
        flipped = np.bitwise_count(sorted_words[step:] ^ sorted_words[:-step])
        at = np.flatnonzero(flipped <= MOST_FLIPPED)
        found.append(np.stack((order[at], order[at + step])))
    a, b = np.concatenate(found, axis=1)
    if len(both) == count:
        return a, b
    across = (a < count) != (b < count)
    a, b = a[across], b[across]
    a, b = np.minimum(a, b), np.maximum(a, b) - count
    return a[a != b], b[a != b]


def _reordered(codes: NDArray[np.uint8], bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    """[N] words of the codes' bits in this order, the first the highest."""
    words = np.empty(len(codes), dtype=np.uint64)
    for start in range(0, len(codes), 262144):
        rows = slice(start, start + 262144)
        packed = np.packbits(np.unpackbits(codes[rows], axis=1)[:, bits], axis=1)
        words[rows] = np.ascontiguousarray(packed).view(">u8").ravel()
    return words


def _coarse(values: NDArray[np.int8]) -> NDArray[np.int16]:
    """[N, shifts, d] -> [N, shifts, fewer]: sums of neighbouring blocks over all channels."""
    side, channels = _sides(values.shape[2])
    grid = values.reshape(*values.shape[:2], side, channels, side)
    step = 2 if side % 2 == 0 else 1
    shape = (*values.shape[:2], side // step, step, channels, side // step, step)
    sums: NDArray[np.int16] = grid.reshape(shape).sum((3, 4, 6), dtype=np.int16)
    return sums.reshape(*values.shape[:2], -1)


def _verified(
    values: NDArray[np.int8], coarse: NDArray[np.int16], a: NDArray[np.int64], b: NDArray[np.int64], shift: int
) -> Pairs:
    """Those of the pairs (a, shifted b) that are near. The square of a sum of n is at most n sums of squares."""
    limit, summed = _limit(values), values.shape[2] // coarse.shape[2]
    likely = _squares(coarse, a, b, shift) < limit * summed
    a, b = a[likely], b[likely]
    distance = _squares(values, a, b, shift)
    near = distance < limit
    return _ordered(a[near], b[near], distance[near])


def _squares(vectors: NDArray[Any], a: NDArray[np.int64], b: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Sums of squared differences between a and shifted b."""
    squares = np.empty(len(a), dtype=np.int64)
    own, moved = vectors[:, 0], vectors[:, shift]
    for start in range(0, len(a), 65536):
        rows = slice(start, start + 65536)
        apart = own[a[rows]].astype(np.float32) - moved[b[rows]]
        squares[rows] = np.einsum("nd,nd->n", apart, apart)
    return squares


def _ordered(a: NDArray[np.int64], b: NDArray[np.int64], distance: NDArray[np.int64]) -> Pairs:
    two = a != b
    return Pairs(np.minimum(a, b)[two], np.maximum(a, b)[two], distance[two])


def _distinct(parts: list[Pairs]) -> Pairs:
    """Every pair once, with its least distance."""
    none = np.empty(0, dtype=np.int64)
    low, high, distance = (np.concatenate(arrays) for arrays in zip(Pairs(none, none, none), *parts, strict=True))
    order = np.lexsort((distance, high, low))
    low, high, distance = low[order], high[order], distance[order]
    first = np.ones(len(low), dtype=bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return Pairs(low[first], high[first], distance[first])


def _closest(pairs: Pairs, count: int) -> Pairs:
    """At most MOST_NEIGHBOURS of each image's pairs with later ones: a set of equal images must not fill the memory."""
    order = np.lexsort((pairs.high, pairs.distance, pairs.low))
    starts = np.searchsorted(pairs.low[order], np.arange(count))
    place = np.arange(len(order)) - starts[pairs.low[order]]
    kept = order[place < MOST_NEIGHBOURS]
    return Pairs(pairs.low[kept], pairs.high[kept], pairs.distance[kept])


def bounded_groups(pairs: Pairs, rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group [N] of each image: the closest pairs are joined first, and none into a group of more than LARGEST_GROUP."""
    low, high = np.minimum(rank[pairs.low], rank[pairs.high]), np.maximum(rank[pairs.low], rank[pairs.high])
    order = np.lexsort((high, low, pairs.distance))
    parent, size = np.arange(len(rank)), np.ones(len(rank), dtype=np.int64)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for a, b in zip(pairs.low[order].tolist(), pairs.high[order].tolist(), strict=True):
        first, second = root(a), root(b)
        if first != second and size[first] + size[second] <= LARGEST_GROUP:
            parent[second] = first
            size[first] += size[second]
    return np.array([root(i) for i in range(len(rank))])
