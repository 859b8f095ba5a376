"""A contrast of arms over the seeds they share: a paired t test whose variance the stage's residual moderates, upwards only.

Notation: a table y[k, s] of arms by seeds, NaN where an arm lacks a seed; coefficients c[k] that sum to zero. `contrast_test`
takes leading axes too, [..., K, n], of tables without NaN: thousands of simulated sweeps are one call.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jit_sweep.statistics.student_t import t_upper

Figures = NDArray[np.float64]

PRIOR_WEIGHT = 4
"""Most degrees of freedom that the pooled residual counts for beside a contrast's own."""
FEWEST_SEEDS = 2
"""Of one seed there is no variance."""


class Residual(NamedTuple):
    """What a table of arms by seeds holds beyond an effect of each arm and one of each seed."""

    mean_square: Figures
    """[...]"""
    dof: int


@dataclass(frozen=True)
class ContrastTest:
    """What the shared seeds say of a contrast; every figure has the table's leading axes [...]."""

    estimate: Figures
    variance: Figures
    """Of one seed's contrast, moderated."""
    n: int
    """Shared seeds."""
    dof: int

    @property
    def se(self) -> Figures:
        """Standard error of the estimate."""
        return np.sqrt(self.variance / self.n)

    @property
    def t(self) -> Figures:
        """Student's t; infinite where every seed says exactly the same, 0 where that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.estimate == 0, 0.0, self.estimate / self.se)

    @property
    def p(self) -> Figures:
        """Two-sided: P(|T| > |t|)."""
        from scipy.special import stdtr  # slow to import

        return np.asarray(2 * stdtr(self.dof, -np.abs(self.t)))

    def interval(self, level: float = 0.95) -> tuple[Figures, Figures]:
        """Both ends of the two-sided interval from the same t."""
        half = t_upper(self.dof, tail=(1 - level) / 2) * self.se
        return self.estimate - half, self.estimate + half


def contrast_test(table: ArrayLike, coefficients: ArrayLike, *, rest: Residual | None = None) -> ContrastTest:
    """Test sum_k c_k y_k = 0 over the seeds that every arm with a coefficient has.

    Args:
        table: [..., K, n]; NaN only without leading axes.
        coefficients: [K].
        rest: the table's `residual`, where several contrasts share it.
    Source: Smyth 2004 (limma) for the moderation, with a fixed prior weight and never below the contrast's own variance.
    ValueError: fewer than two shared seeds.
    """
    y, c = np.asarray(table, dtype=np.float64), np.asarray(coefficients, dtype=np.float64)
    return seeds_test(per_seed(y, c), squares=float((c**2).sum()), rest=rest or residual(y))


def seeds_test(by_seed: Figures, *, squares: float, rest: Residual) -> ContrastTest:
    """The same test of a contrast's numbers [..., n], one a seed, whose coefficients have this sum of squares.

    ValueError: fewer than two shared seeds.
    """
    n = by_seed.shape[-1]
    if n < FEWEST_SEEDS:
        raise ValueError(f"a contrast needs {FEWEST_SEEDS} or more shared seeds, got {n}; train the same seeds in each arm")
    weight = prior_weight(n - 1, rest.dof)
    variance = moderated(by_seed.var(axis=-1, ddof=1), rest.mean_square * squares, dof=n - 1, weight=weight)
    return ContrastTest(by_seed.mean(axis=-1), variance, n, n - 1 + weight)


def per_seed(table: Figures, coefficients: Figures) -> Figures:
    """g_s = sum_k c_k y_ks, [..., shared seeds]: one number a seed, of the seeds that no arm of the contrast lacks."""
    part = coefficients != 0
    asked, c = table[..., part, :], coefficients[part]
    shared = ~np.isnan(asked.reshape(-1, asked.shape[-1])).any(axis=0)
    return np.asarray(np.einsum("k,...ks->...s", c, asked[..., shared]))


def residual(table: Figures) -> Residual:
    """The mean square of y_ks - y_k. - y_.s + y_.., or of what least squares leave where cells are missing.

    Source: the two-way layout without replication, Scheffe 1959, section 4.2.
    """
    if np.isnan(table).any():
        return _least_squares_residual(table)
    arms, seeds = table.shape[-2:]
    dof = (arms - 1) * (seeds - 1)
    left = table - table.mean(-1, keepdims=True) - table.mean(-2, keepdims=True) + table.mean((-2, -1), keepdims=True)
    return Residual((left**2).sum((-2, -1)) / max(1, dof), dof)


def _least_squares_residual(table: Figures) -> Residual:
    """The arms' effects are projected out first, so that the seeds' are few columns however many arms there are.

    Source: Frisch and Waugh 1933.
    """
    seen = ~np.isnan(table)
    some = seen.any(axis=1)
    table, seen = table[some], seen[some]
    arms, seeds = table.shape
    of_seed = np.broadcast_to(np.eye(seeds), (arms, seeds, seeds)) - (seen / seen.sum(axis=1, keepdims=True))[:, None, :]
    y = (table - np.nanmean(table, axis=1, keepdims=True))[seen]
    design = of_seed[seen]
    effects, _, rank, _ = np.linalg.lstsq(design, y)
    dof = len(y) - arms - int(rank)
    return Residual(np.asarray(((y - design @ effects) ** 2).sum() / max(1, dof)), dof)


def prior_weight(own_dof: int, residual_dof: int) -> int:
    """d0 = min(4, d, D - d): what of the residual is not the contrast's own; 0 for two arms alone: the paired t."""
    return max(0, min(PRIOR_WEIGHT, own_dof, residual_dof - own_dof))


def moderated(own: Figures, pooled: Figures, *, dof: int, weight: int) -> Figures:
    """v = max(own, (d0 pooled + d own) / (d0 + d)): a small spread of few seeds is luck, a large one is not."""
    return np.maximum(own, (weight * pooled + dof * own) / (weight + dof))
