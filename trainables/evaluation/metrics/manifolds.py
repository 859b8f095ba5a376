"""Precision and recall of generated images (Kynkaanniemi et al., arXiv 1904.06991, eq. 1 and 2).

A set's manifold is the union of balls around its points, each reaching to the point's k-th nearest neighbour in the set.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference

K = 3
_ROWS = 1024
"""Rows of a distance matrix in memory at once."""


def precision(features: Tensor, real: Reference) -> float:
    """Share of the features [n, d] that lie in the real images' manifold."""
    sound(features, dimensions=real.features.shape[1])
    return float(_inside(features, real.features, real.once(radii)).double().mean())


def recall(features: Tensor, real: Reference) -> float:
    """Share of the real images that lie in the manifold of the features [n, d]."""
    sound(features, dimensions=real.features.shape[1])
    return float(_inside(real.features, features, radii(features)).double().mean())


def precision_without_each(features: Tensor, real: Reference, groups: Tensor) -> list[float]:
    """The precision without each group: a mean over the images that stay."""
    inside = _inside(features, real.features, real.once(radii)).double()
    return [float(inside[groups != group].mean()) for group in range(int(groups.max()) + 1)]


def recall_without_each(features: Tensor, real: Reference, groups: Tensor) -> list[float]:
    """The recall without each group: both the balls and their radii are of the images that stay."""
    kept = [groups != group for group in range(int(groups.max()) + 1)]
    reach = _radii_without_each(features, kept)
    inside = torch.zeros(len(kept), dtype=torch.float64)
    for block in distances(real.features, features):
        for group, stays in enumerate(kept):
            inside[group] += (block[:, stays] <= reach[group]).any(1).sum()
    return (inside / len(real.features)).tolist()


def _radii_without_each(features: Tensor, kept: list[Tensor]) -> list[Tensor]:
    """`radii` of the rows that stay, for each choice of them, from one matrix of distances."""
    reach: list[list[Tensor]] = [[] for _ in kept]
    for start, block in zip(range(0, len(features), _ROWS), distances(features, features), strict=True):
        for group, stays in enumerate(kept):
            k = min(K, int(stays.sum()) - 1)
            reach[group].append(block[stays[start : start + _ROWS]][:, stays].kthvalue(k + 1, dim=1).values)
    return [torch.cat(parts) for parts in reach]


def radii(features: Tensor) -> Tensor:
    """Distance of each row of [n, d] to its k-th nearest other row, of the farthest where there are fewer; float64 [n]."""
    k = min(K, len(features) - 1)
    return torch.cat([block.kthvalue(k + 1, dim=1).values for block in distances(features, features)])


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """Distance of each row of a [n, d] to the nearest of b [m, d], float64 [n]."""
    return torch.cat([block.amin(1) for block in distances(a, b)])


def distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Euclidean distances of rows of a [n, d] to all of b [m, d], float64, a block of rows [<= 1024, m] at a time."""
    other = b.double()
    squares = other.square().sum(1)
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS].double()
        squared = rows.square().sum(1, keepdim=True) + squares - 2 * rows @ other.T
        yield squared.clamp(min=0).sqrt()


def _inside(a: Tensor, b: Tensor, reach: Tensor) -> Tensor:
    """Whether each row of a lies in a ball around a row of b; bool [n]."""
    return torch.cat([(block <= reach).any(1) for block in distances(a, b)])
