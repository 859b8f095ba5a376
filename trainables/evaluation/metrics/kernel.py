"""The kernel distance between two sets of features (KID; Binkowski et al., arXiv 1801.01401).

Squared maximum mean discrepancy with k(a, b) = (a.b / d + 1)^3, in its unbiased form: real images against real images stay
around 0 at every n, and a value may be negative. Taken over the full sets, so nothing is drawn.
"""

from torch import Tensor

from trainables.evaluation.real import Reference

_ROWS = 1024


def kernel_distance(features: Tensor, real: Reference) -> float:
    """Unbiased squared MMD of features [n, d], n >= 2, to real images' features."""
    across = sum_of_kernels(features, real.features) / (len(features) * len(real.features))
    return mean_over_pairs(features) + real.once(mean_over_pairs) - 2 * across


def mean_over_pairs(features: Tensor) -> float:
    """Mean of k(a, b) over ordered pairs of different rows: m^2 kernels of m rows, so a reference's is kept."""
    n, d = features.shape
    itself = ((features.double().square().sum(1) / d + 1) ** 3).sum()
    return (sum_of_kernels(features, features) - float(itself)) / (n * (n - 1))


def sum_of_kernels(a: Tensor, b: Tensor) -> float:
    """Sum of k over all pairs of rows, in float64 and in blocks of rows."""
    other = b.double().T / b.shape[1]
    blocks = (a[start : start + _ROWS].double() for start in range(0, len(a), _ROWS))
    return sum(float(((block @ other + 1) ** 3).sum()) for block in blocks)
