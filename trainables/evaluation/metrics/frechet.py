"""The Frechet distance between two sets of features, each taken as a Gaussian (Heusel et al., arXiv 1706.08500, eq. 6).

    d^2 = |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))

It falls with the number of samples, and not by the same amount for every model: compare at equal n only.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.evaluation.real import Reference

_SYMMETRY = 1e-6


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean [d] and covariance [d, d] (divided by n - 1), held in float64; ValueError where they cannot be moments."""

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        d = self.mean.numel()
        if self.mean.shape != (d,) or self.covariance.shape != (d, d):
            shapes = f"{list(self.mean.shape)} and {list(self.covariance.shape)}"
            raise ValueError(f"moments must be a mean [d] and a covariance [d, d], got {shapes}; compute them again")
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.covariance).all()):
            raise ValueError("moments must be finite, got NaN or infinity; compute them again from finite features")
        # Statistics files often hold a float32 mean beside a float64 covariance.
        object.__setattr__(self, "mean", self.mean.double())
        object.__setattr__(self, "covariance", self.covariance.double())
        skew = float((self.covariance - self.covariance.T).abs().max())
        if skew > _SYMMETRY * float(self.covariance.abs().max()):
            raise ValueError(f"a covariance must be symmetric, got a difference of {skew:.3g} from its transpose")

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance; computed once, since the reference never changes."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return root


def distance_to_real(features: Tensor, real: Reference) -> float:
    """Squared Frechet distance of features [n, d], n >= 2, to real images' features."""
    return frechet_distance(features, real.once(moments))


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features [n, d], n >= 2, accumulated in float64."""
    centred, mean = _centred(features)
    return Moments(mean=mean, covariance=centred.T @ centred / (len(centred) - 1))


def frechet_distance(features: Tensor, reference: Moments) -> float:
    """Squared Frechet distance of features [n, d] to a reference's moments. Exact for every n >= 2."""
    centred, mean = _centred(features)
    if mean.shape != reference.mean.shape:
        rule = f"features must have the reference's {reference.mean.numel()} dimensions"
        raise ValueError(f"{rule}, got {list(features.shape)}; use one extractor on both sides")
    spread = float((centred * centred).sum() / (len(centred) - 1))
    cross = _trace_of_root(centred, reference)
    offset = float(((mean - reference.mean) ** 2).sum())
    return offset + spread + float(reference.covariance.trace()) - 2 * cross


def _trace_of_root(centred: Tensor, reference: Moments) -> float:
    """Tr((C1 C2)^(1/2)) with C1 = X^T X / (n - 1), through whichever symmetric matrix is smaller.

    The eigenvalues of C1 C2 are those of X C2 X^T / (n - 1), n x n, and of C2^(1/2) C1 C2^(1/2), d x d.
    """
    n, d = centred.shape
    if n <= d:
        product = centred @ reference.covariance @ centred.T / (n - 1)
    else:
        projected = centred @ reference.root
        product = projected.T @ projected / (n - 1)
    return float(torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum())


def _centred(features: Tensor) -> tuple[Tensor, Tensor]:
    if features.ndim != 2 or len(features) < 2 or not features.is_floating_point():
        rule = "features must be floating-point numbers of shape [n, d] with n >= 2"
        raise ValueError(f"{rule}, got {features.dtype} {list(features.shape)}")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite, got NaN or infinity; score finite images only")
    wide = features.double()
    mean = wide.mean(0)
    return wide - mean, mean
