"""The kernel distance between two sets of features (KID; Binkowski et al., arXiv 1801.01401).

Squared maximum mean discrepancy with k(a, b) = (a.b / d + 1)^3, in its unbiased form: real images against real images stay
around 0 at every n, and a value may be negative. Taken over the full sets, so nothing is drawn.
"""

from functools import cached_property

from torch import Tensor

_ROWS = 1024


class KernelReference:
    """The side of the comparison that never changes. features [m, d], m >= 2."""

    def __init__(self, features: Tensor, *, self_term: float | None = None) -> None:
        self.features = features
        self._known = self_term

    @cached_property
    def self_term(self) -> float:
        """Mean kernel over the pairs of different reference images: m^2 kernels, so it is worth keeping."""
        return mean_over_pairs(self.features) if self._known is None else self._known


def kernel_distance(features: Tensor, reference: KernelReference) -> float:
    """Unbiased squared MMD of features [n, d], n >= 2, to a reference."""
    across = sum_of_kernels(features, reference.features) / (len(features) * len(reference.features))
    return mean_over_pairs(features) + reference.self_term - 2 * across


def mean_over_pairs(features: Tensor) -> float:
    """Mean of k(a, b) over ordered pairs of different rows."""
    n, d = features.shape
    itself = ((features.double().square().sum(1) / d + 1) ** 3).sum()
    return (sum_of_kernels(features, features) - float(itself)) / (n * (n - 1))


def sum_of_kernels(a: Tensor, b: Tensor) -> float:
    """Sum of k over all pairs of rows, in float64 and in blocks of rows."""
    other = b.double().T / b.shape[1]
    blocks = (a[start : start + _ROWS].double() for start in range(0, len(a), _ROWS))
    return sum(float(((block @ other + 1) ** 3).sum()) for block in blocks)
