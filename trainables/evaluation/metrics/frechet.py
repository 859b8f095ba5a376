"""The Frechet distance between two sets of features, each taken as a Gaussian (Heusel et al., arXiv 1706.08500, eq. 6).

    d^2 = |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))

It falls with the number of samples, and not by the same amount for every model: compare at equal n only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.evaluation.metrics.families import PER_DIMENSION
from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference

_SYMMETRY = 1e-6
_RESOLUTION = 1e-7
"""Share of the two traces below which a distance is rounding: the root of an eigenvalue of 1e-16 is 1e-8."""


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


class FeatureSums:
    """Count, sum and sum of outer products of features in float64: fed in batches, merged over workers, saved in between."""

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.sum = torch.zeros(dimensions, dtype=torch.float64)
        self.products = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in features [n, d]. ValueError: they are not finite, or of other dimensions."""
        if features.shape[1:] != self.sum.shape or not torch.isfinite(features).all():
            rule = f"features must be finite and of {len(self.sum)} dimensions"
            raise ValueError(f"{rule}, got {list(features.shape)}; use one extractor, on finite images")
        wide = features.double()
        self.count += len(wide)
        self.sum += wide.sum(0)
        self.products += wide.T @ wide

    def merge(self, other: "FeatureSums") -> None:
        """Take in what another stream has seen."""
        self.count += other.count
        self.sum += other.sum
        self.products += other.products

    def tensors(self) -> dict[str, Tensor]:
        """All it knows, for a file or another process."""
        return {"count": torch.tensor(self.count), "sum": self.sum, "products": self.products}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "FeatureSums":
        """The stream that `tensors` came from."""
        stream = cls(len(tensors["sum"]))
        stream.count, stream.sum, stream.products = int(tensors["count"]), tensors["sum"].clone(), tensors["products"].clone()
        return stream

    def moments(self) -> Moments:
        """ValueError: of fewer than two rows."""
        if self.count < 2:
            raise ValueError(f"moments need at least 2 images, got {self.count}; add some more")
        mean = self.sum / self.count
        centred = self.products - self.count * torch.outer(mean, mean)
        return Moments(mean=mean, covariance=(centred + centred.T) / (2 * (self.count - 1)))


def distance_to_real(features: Tensor, real: Reference) -> float:
    """Squared Frechet distance of features [n, d], n >= 2, to real images' features."""
    return frechet_distance(features, real.once(moments))


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features [n, d], n >= 2, accumulated in float64."""
    centred, mean = _centred(features)
    return Moments(mean=mean, covariance=centred.T @ centred / (len(centred) - 1))


def frechet_distance(features: Tensor, reference: Moments) -> float:
    """Squared Frechet distance of features [n, d] to a reference's moments. Exact for every n >= 2, and 0 of the same set."""
    centred, mean = _centred(features, dimensions=reference.mean.numel())
    n, d = centred.shape
    # The eigenvalues of C1 C2 are those of X C2 X^T / (n - 1), n x n, and of C2^(1/2) C1 C2^(1/2), d x d.
    if n <= d:
        product = centred @ reference.covariance @ centred.T
    elif n <= 2 * d:
        product = _gram(centred @ reference.root)
    else:
        product = reference.root @ _gram(centred) @ reference.root
    return _distance(product / (n - 1), mean, float(centred.square().sum()) / (n - 1), reference)


def without_each(features: Tensor, real: Reference, groups: Tensor) -> list[float]:
    """The distance to real images without each group of features, each from a part of one product."""
    reference = real.once(moments)
    centred, mean = _centred(features, dimensions=reference.mean.numel())
    n, d = centred.shape
    kept = [torch.nonzero(groups != group)[:, 0] for group in range(int(groups.max()) + 1)]
    if n - n // len(kept) <= d:
        product = centred @ reference.covariance @ centred.T
        parts = (_doubly_centred(product[stay][:, stay]) for stay in kept)
    else:
        projected = centred @ reference.root
        whole = _gram(projected)
        parts = (_gram_of(stay, whole, projected, groups) for stay in kept)
    return [_part_distance(part, centred[stay], mean, reference) for part, stay in zip(parts, kept, strict=True)]


def distance_at_infinity(features: Tensor, real: Reference) -> float:
    """The Frechet distance at 1/n = 0, by a line through its values at 8 shares of the images [n, d], n >= 5 d.

    Chong and Forsyth, arXiv 1911.07023. Each share is every k-th image, so that nothing is drawn. It may be below 0.
    """
    n, d = features.shape
    if n < PER_DIMENSION * d:
        rule = f"an extrapolated distance needs n >= {PER_DIMENSION} d = {PER_DIMENSION * d} images"
        raise ValueError(f"{rule}, got n={n}: from fewer the line misses by half; raise n, or take the distance itself")
    counts = [n * share // 16 for share in range(9, 17)]
    values = [frechet_distance(features[torch.arange(count) * n // count], real.once(moments)) for count in counts]
    x, y = 1 / torch.tensor(counts, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(y.mean() - slope * x.mean())


def _part_distance(part: Tensor, rows: Tensor, mean: Tensor, reference: Moments) -> float:
    """The distance of some rows of features, given centred by the mean of all, and their product with the reference."""
    n, own = len(rows), rows.mean(0)
    spread = float(rows.square().sum() - n * own.square().sum()) / (n - 1)
    return _distance(part / (n - 1), mean + own, spread, reference)


def _distance(product: Tensor, mean: Tensor, spread: float, reference: Moments) -> float:
    """d^2 from a symmetric matrix with the eigenvalues of C1 C2, the mean and the trace of C1."""
    cross = float(torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum())
    size = spread + float(reference.covariance.trace())
    value = float((mean - reference.mean).square().sum()) + size - 2 * cross
    return value if value > _RESOLUTION * size else 0.0


def _doubly_centred(product: Tensor) -> Tensor:
    """X C X^T of rows less their own mean."""
    return product - product.mean(0) - product.mean(1, keepdim=True) + product.mean()


def _gram(rows: Tensor) -> Tensor:
    return rows.T @ rows


def _gram_of(stay: Tensor, whole: Tensor, projected: Tensor, groups: Tensor) -> Tensor:
    """X^T X of the rows that stay, less their own mean, from that of all."""
    gone = torch.ones(len(groups), dtype=torch.bool)
    gone[stay] = False
    mean = projected[stay].mean(0)
    return whole - _gram(projected[gone]) - len(stay) * torch.outer(mean, mean)


def _centred(features: Tensor, *, dimensions: int | None = None) -> tuple[Tensor, Tensor]:
    wide = sound(features, dimensions=dimensions).double()
    mean = wide.mean(0)
    return wide - mean, mean
