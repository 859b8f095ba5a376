"""The Frechet distance beside scipy's `sqrtm`, in CPU seconds of one thread, with equal results."""

import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch

from tests.bench.table import say
from trainables.evaluation.metrics.frechet import Moments, frechet_distance, moments

DIMENSIONS = 2048
BARS = {512: 50, 4096: 8}
"""Times faster than scipy, by the number of images."""


def table() -> None:
    """The reference's square root is there, as it is for every trial but the first."""
    torch.set_num_threads(1)
    reference = moments(_features(5000, seed=0))
    reference.root.sum()
    for count, bar in BARS.items():
        features = _features(count, seed=1) * 1.1 + 0.05
        ours, ours_s = _timed(lambda of=features: frechet_distance(of, reference))  # type: ignore[misc]
        theirs, theirs_s = _timed(lambda of=features: by_scipy(of, reference))  # type: ignore[misc]
        say(f"Frechet distance, {DIMENSIONS}-d, n = {count}: ours {ours:.6f}, scipy {theirs:.6f}", f"{ours_s:.2f} CPU s")
        say("  scipy's sqrtm of the product, with the moments", f"{theirs_s:.2f} CPU s")
        say("  times faster", f"{theirs_s / ours_s:.1f}", f"{bar}")


def by_scipy(features: torch.Tensor, reference: Moments) -> float:
    """As pytorch-fid and its kin compute it."""
    own = moments(features)
    m1, c1, m2, c2 = (each.numpy() for each in (own.mean, own.covariance, reference.mean, reference.covariance))
    cross = np.trace(scipy.linalg.sqrtm(c1 @ c2)).real
    return float(np.square(m1 - m2).sum() + np.trace(c1) + np.trace(c2) - 2 * cross)


def _features(count: int, *, seed: int) -> torch.Tensor:
    """Of a falling spectrum, as networks give them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, DIMENSIONS, generator=generator) * torch.logspace(0, -2, DIMENSIONS)


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    begun = time.process_time()
    value = work()
    return value, time.process_time() - begun
