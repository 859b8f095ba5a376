"""What spreads the scores of equal trials: training them again, and drawing other images from the same weights."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

LEAST_SHARED = 3
"""Seeds that two arms must share for a correlation: of two it is always 1 or -1."""


class Components(NamedTuple):
    """Standard deviations of one score."""

    retraining: float
    """Of the weights' own mean, over seeds of training."""
    resampling: float
    """Over seeds of sampling, of the same weights."""


def components(scores: Sequence[Sequence[float]]) -> Components:
    """The components of scores [seeds of training, seeds of sampling], at least two of each, where all weights meet the same
    starting noise: y = mean + weights + noise + rest.

    The noise that all weights share cancels in their differences, so that the mean of m draws spreads by retraining and by
    rest / m alone; drawing anew spreads by noise and rest. Method: the moments of a two-way analysis of variance.
    """
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or min(y.shape) < 2:
        raise ValueError(f"components need 2 seeds of training and 2 of sampling at least, got {list(y.shape)}; add seeds")
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    residual = float((rest**2).sum()) / ((y.shape[0] - 1) * (y.shape[1] - 1))
    retraining = max(0.0, float(y.mean(1).var(ddof=1)) - residual / y.shape[1])
    return Components(retraining**0.5, float(y.var(axis=1, ddof=1).mean()) ** 0.5)


def mean_correlation(arms: Sequence[Mapping[int, float]]) -> float | None:
    """The mean over pairs of arms of the correlation of their scores by seed; None where no pair shares enough seeds."""
    found = []
    for one, other in combinations(arms, 2):
        seeds = sorted(one.keys() & other.keys())
        sides = [np.array([arm[seed] for seed in seeds]) for arm in (one, other)]
        if len(seeds) >= LEAST_SHARED and all(side.std() > 0 for side in sides):
            found.append(float(np.corrcoef(sides[0], sides[1])[0, 1]))
    return sum(found) / len(found) if found else None
