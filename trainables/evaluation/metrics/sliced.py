"""MIND: the sliced 2-Wasserstein distance between two sets of features (arXiv 2605.06797), over fixed directions.

Along a direction the best transport between two sets pairs their quantiles. It assumes no Gaussian, and few images suffice.
"""

import torch
from torch import Tensor

from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference

DIRECTIONS = 512
_ROWS = 4096


def distance_to_real(features: Tensor, real: Reference) -> float:
    """d times the mean squared 2-Wasserstein distance of features [n, d] along the directions: 0 of the same set.

    Times d: for sets that differ in their mean alone it is then the squared distance of the means.
    """
    sound(features, dimensions=real.features.shape[1])
    return _between(sorted_along(features), real) * features.shape[1]


def first_wasserstein(features: Tensor, real: Reference) -> float:
    """The mean 1-Wasserstein distance of features [n, d] along the directions: 0 of the same set."""
    sound(features, dimensions=real.features.shape[1])
    ordered = sorted_along(features)
    return float((ordered - at_quantiles(real.once(sorted_along), len(ordered))).abs().mean())


def without_each(features: Tensor, real: Reference, groups: Tensor) -> list[float]:
    """The distance without each group: the features are laid along the directions once."""
    ordered, places = along(features).sort(0)
    values = []
    for group in range(int(groups.max()) + 1):
        stays = groups[places] != group
        part = ordered.T[stays.T].view(ordered.shape[1], -1).T
        values.append(_between(part, real) * features.shape[1])
    return values


def _between(ordered: Tensor, real: Reference) -> float:
    return float((ordered - at_quantiles(real.once(sorted_along), len(ordered))).square().mean())


def sorted_along(features: Tensor) -> Tensor:
    """Features [n, d] along each direction in rising order, float64 [n, directions]."""
    return along(features).sort(0).values


def along(features: Tensor) -> Tensor:
    """Features [n, d] along each direction, float64 [n, directions]."""
    axes = directions(features.shape[1])
    return torch.cat([features[start : start + _ROWS].double() @ axes for start in range(0, len(features), _ROWS)])


def at_quantiles(ordered: Tensor, count: int) -> Tensor:
    """The (i + 1/2) / count quantiles of ordered columns [m, k], between neighbours linearly -> [count, k]."""
    if count == len(ordered):
        return ordered
    at = ((torch.arange(count, dtype=torch.float64) + 0.5) * len(ordered) / count - 0.5).clamp(0, len(ordered) - 1)
    low = at.floor().long()
    share = (at - low)[:, None]
    return ordered[low] * (1 - share) + ordered[(low + 1).clamp(max=len(ordered) - 1)] * share


def directions(d: int) -> Tensor:
    """The directions, equal for all sets: columns of length 1, float64 [d, directions]."""
    drawn = PhiloxDraws(0).normal(Purpose.FEATURE_DIRECTION, first=0, count=DIRECTIONS, shape=(d,)).double()
    unit: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return unit.T
