"""The kernel distance between two sets of features (KID; Binkowski et al., arXiv 1801.01401).

Squared maximum mean discrepancy with k(a, b) = (a.b / d + 1)^3, in its unbiased form: real images against real images stay
around 0 at every n, and a value may be negative. Taken over the full sets, so nothing is drawn.
"""

import torch
from torch import Tensor

from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference

_ROWS = 1024
_WIDTH = 10.0
_SCALE = 1000.0


def kernel_distance(features: Tensor, real: Reference) -> float:
    """Unbiased squared MMD of features [n, d], n >= 2, to real images' features. ValueError: features that do not compare."""
    sound(features, dimensions=real.features.shape[1])
    across = sum_of_kernels(features, real.features) / (len(features) * len(real.features))
    return mean_over_pairs(features) + real.once(mean_over_pairs) - 2 * across


def without_each(features: Tensor, real: Reference, groups: Tensor) -> list[float]:
    """The distance without each group of features, from the sums of kernels between groups: none is computed twice."""
    among, across, itself = _group_sums(features, real, groups)
    values = []
    for group in range(int(groups.max()) + 1):
        stay = torch.arange(len(across)) != group
        n = int((groups != group).sum())
        pairs = float(among[stay][:, stay].sum() - itself[stay].sum()) / (n * (n - 1))
        values.append(pairs + real.once(mean_over_pairs) - 2 * float(across[stay].sum()) / (n * len(real.features)))
    return values


def _group_sums(features: Tensor, real: Reference, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of kernels between groups [G + 1, G + 1], with the real images [G + 1], and of rows with themselves [G + 1].

    The last group holds the rows that are in none.
    """
    count = int(groups.max()) + 2
    member = torch.nn.functional.one_hot(groups.remainder(count), count).double()
    among, across = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        among += member[rows].T @ _kernels(features[rows], features) @ member
        across += member[rows].T @ _kernels(features[rows], real.features).sum(1)
    return among, across, member.T @ _of_itself(features)


def mean_over_pairs(features: Tensor) -> float:
    """Mean of k(a, b) over ordered pairs of different rows: m^2 kernels of m rows, so a reference's is kept."""
    n = len(features)
    return (sum_of_kernels(features, features) - float(_of_itself(features).sum())) / (n * (n - 1))


def sum_of_kernels(a: Tensor, b: Tensor) -> float:
    """Sum of k over all pairs of rows, in float64 and in blocks of rows."""
    return sum(float(_kernels(a[start : start + _ROWS], b).sum()) for start in range(0, len(a), _ROWS))


def gaussian_distance(features: Tensor, real: Reference) -> float:
    """1000 times the squared MMD with exp(-|a - b|^2 / 200) on features [n, d] of length 1, as CMMD has it (arXiv 2401.09603).

    Its means run over all pairs, a row with itself among them: 0 of the same set, and biased upwards of few images.
    """
    a = _of_length_1(sound(features, dimensions=real.features.shape[1]))
    across = _gaussian_mean(a, _of_length_1(real.features))
    return _SCALE * max(0.0, _gaussian_mean(a, a) + real.once(_gaussian_self_mean) - 2 * across)


def _gaussian_self_mean(features: Tensor) -> float:
    rows = _of_length_1(features)
    return _gaussian_mean(rows, rows)


def _gaussian_mean(a: Tensor, b: Tensor) -> float:
    """Of rows of length 1, whose squared distance is 2 - 2 a.b."""
    blocks = (a[start : start + _ROWS] @ b.T for start in range(0, len(a), _ROWS))
    return sum(float(torch.exp((block - 1) / _WIDTH**2).sum()) for block in blocks) / (len(a) * len(b))


def _of_length_1(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.double(), dim=1)


def _kernels(a: Tensor, b: Tensor) -> Tensor:
    """k of all pairs of rows, float64 [len(a), len(b)]."""
    return (a.double() @ (b.double().T / b.shape[1]) + 1) ** 3


def _of_itself(features: Tensor) -> Tensor:
    """k of each row with itself, float64 [n]."""
    return (features.double().square().sum(1) / features.shape[1] + 1) ** 3
