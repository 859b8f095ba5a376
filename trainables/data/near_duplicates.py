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
TABLES = 32
"""Orders of these bits that are sorted by."""
LEAST_WINDOW, MOST_WINDOW, COMPARED = 4, 96, 2**19
"""Thumbnails that each is compared with in a sorted table: more in a small set, whose images crowd less."""
MOST_FLIPPED = 14
"""Bits in which a near pair may differ; the distance decides among those below."""
MOST_NEIGHBOURS = 32
"""Closest pairs that are kept of an image with many."""
_ROWS = 1024
_PAIRS = 8192
_SAMPLE = 65536
_THRESHOLDS = 0.35, 0.65
"""Shares of the images that a bit's threshold may lie above: bits that part the images tell most, and thresholds apart from
the middle tell a flat image from one of much contrast."""


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
    by_rank = np.argsort(rank)
    codes = _codes(values, by_rank)
    orders = np.random.default_rng(0)
    kept, coarse = _distinct([]), _coarse(values)
    for _ in range(TABLES):
        bits = orders.permutation(BITS)
        words = [_reordered(of_shift, bits) for of_shift in codes]
        sorted_by = [np.argsort(of_shift, kind="stable") for of_shift in words]  # equal words stay in the order of their rank
        own, found = words[0][sorted_by[0]], [kept]
        for shift, order in enumerate(sorted_by):
            a, b = _neighbours(own, words[shift][order] if shift else None)
            found.append(_verified(values, coarse, by_rank[sorted_by[0][a]], by_rank[order[b]], shift))
        kept = _closest(_distinct(found), len(values))
    return kept


def _codes(values: NDArray[np.int8], by_rank: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Of each shift [N, BITS / 8] in the order of rank: which projections are above their thresholds.

    float32 holds projections exactly, and thresholds are projections of the set's own images: equal on every machine.
    """
    projections = _projections(values.shape[2])
    sample = np.sort(values[by_rank[:_SAMPLE], 0].astype(np.float32) @ projections, axis=0)
    shares = np.random.default_rng(1).uniform(*_THRESHOLDS, BITS)
    thresholds = sample[(shares * len(sample)).astype(np.int64), np.arange(BITS)]
    codes = [np.empty((len(values), BITS // 8), dtype=np.uint8) for _ in range(values.shape[1])]
    for start in range(0, len(values), _SAMPLE):
        rows = by_rank[start : start + _SAMPLE]
        for shift, signs in enumerate(codes):
            above = values[rows, shift].astype(np.float32) @ projections > thresholds
            signs[start : start + _SAMPLE] = np.packbits(above, axis=1)
    return codes


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


def _neighbours(own: NDArray[np.uint64], moved: NDArray[np.uint64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places a of own sorted words, and places b of moved ones that would stand beside them; of own ones without `moved`."""
    count = len(own)
    window = max(LEAST_WINDOW, min(MOST_WINDOW, COMPARED // count))
    others, at = (own, np.arange(count)) if moved is None else (moved, np.searchsorted(own, moved))
    found = []
    for step in range(1, window + 1) if moved is None else range(-window, window):
        places = np.clip(at + step, 0, count - 1)
        likely = np.flatnonzero(np.bitwise_count(own[places] ^ others) <= MOST_FLIPPED)
        found.append(np.stack((places[likely], likely)))
    a, b = np.concatenate(found, axis=1)
    return a, b


def _reordered(codes: NDArray[np.uint8], bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    """[N] words of the codes' bits in this order, the first the highest."""
    places = np.empty(BITS, dtype=np.uint64)
    places[bits] = np.arange(BITS - 1, -1, -1, dtype=np.uint64)
    set_bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    words = np.zeros(len(codes), dtype=np.uint64)
    for byte in range(BITS // 8):
        of_value = (set_bits << places[8 * byte : 8 * byte + 8]).sum(1, dtype=np.uint64)
        words |= of_value[codes[:, byte]]
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
    by_shift = vectors.reshape(-1, vectors.shape[2])
    own, moved = a * vectors.shape[1], b * vectors.shape[1] + shift
    for start in range(0, len(a), _PAIRS):
        rows = slice(start, start + _PAIRS)
        apart = np.subtract(by_shift.take(own[rows], 0), by_shift.take(moved[rows], 0), dtype=np.int16).astype(np.float32)
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
