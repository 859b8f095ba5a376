"""The contrast test, against another path to the same figures and against worked cases."""

import math

import numpy as np
import pytest
from scipy import special, stats

from jit_sweep.statistics.contrasts import Figures, contrast_test, residual

CASES = 1000


def random_table(source: np.random.Generator) -> Figures:
    """2 to 6 arms and 3 to 8 seeds of other spreads, in one of two tables with cells missing."""
    arms, seeds = source.integers(2, 7), source.integers(3, 9)
    table = source.normal(size=(arms, seeds)) * source.lognormal(size=(arms, 1)) + source.normal(size=(1, seeds))
    if source.random() < 0.5:
        table[source.random(table.shape) < 0.2] = math.nan
    return table


def random_coefficients(source: np.random.Generator, arms: int) -> Figures:
    """An arm against another, or a difference of differences."""
    wanted = [1.0, -1.0, -1.0, 1.0] if arms >= 4 and source.random() < 0.5 else [1.0, -1.0]
    return source.permutation(np.array([*wanted, *[0.0] * (arms - len(wanted))]))


class Judged:
    """The figures of `statistics.contrasts` from whole linear models, loops over seeds, and the beta distribution."""

    def __init__(self, table: Figures, c: Figures) -> None:
        whole = [s for s in range(table.shape[1]) if all(not math.isnan(table[k, s]) for k in range(len(c)) if c[k])]
        by_seed = [math.fsum(c[k] * table[k, s] for k in range(len(c)) if c[k]) for s in whole]
        n, d = len(whole), len(whole) - 1
        mean = math.fsum(by_seed) / n
        own = math.fsum((value - mean) ** 2 for value in by_seed) / d
        squares, dof = additive_model(table)
        d0 = min(4, d, dof - d)
        pooled = (d0 * squares / dof * math.fsum(c**2) + d * own) / (d0 + d) if d0 > 0 else own
        self.se = math.sqrt(max(own, pooled) / n)
        self.dof, self.estimate, self.n = d + max(0, d0), mean, n
        # Student's t by the incomplete beta function: P(|T| > t) = I_x(df / 2, 1 / 2) at x = df / (df + t^2).
        self.p = float(special.betainc(self.dof / 2, 0.5, self.dof / (self.dof + (mean / self.se) ** 2)))
        x = float(special.betaincinv(self.dof / 2, 0.5, 0.05))
        half = math.sqrt(self.dof * (1 - x) / x) * self.se
        self.interval = (mean - half, mean + half)


def additive_model(table: Figures) -> tuple[float, int]:
    """Squares and degrees of freedom left by a column for each arm and, but for one, each seed: by QR of what is observed."""
    cells = [(k, s) for k in range(table.shape[0]) for s in range(table.shape[1]) if not math.isnan(table[k, s])]
    design = np.zeros((len(cells), sum(table.shape)))
    for row, (k, s) in enumerate(cells):
        design[row, k] = design[row, table.shape[0] + s] = 1
    y = np.array([table[cell] for cell in cells])
    left, values, _ = np.linalg.svd(design)
    rank = int((values > 1e-9).sum())
    rest = left[:, rank:].T @ y
    return float(rest @ rest), len(cells) - rank


@pytest.mark.slow
def test_another_path_to_the_figures_agrees_on_a_thousand_random_tables() -> None:
    source = np.random.default_rng(14)
    compared = 0
    while compared < CASES:
        table = random_table(source)
        c = random_coefficients(source, len(table))
        if (~np.isnan(table[c != 0]).any(axis=0)).sum() < 2 or (~np.isnan(table)).sum() < sum(table.shape):
            continue
        found, judged = contrast_test(table, c), Judged(table, c)
        assert (found.n, found.dof) == (judged.n, judged.dof)
        for name in ("estimate", "se", "p"):
            assert getattr(found, name) == pytest.approx(getattr(judged, name), rel=1e-6, abs=1e-12), (name, table, c)
        assert found.interval() == pytest.approx(judged.interval, rel=1e-6, abs=1e-9)
        compared += 1


def test_two_arms_alone_are_a_paired_t() -> None:
    table = np.random.default_rng(1).normal(size=(2, 5))
    found, oracle = contrast_test(table, [1, -1]), stats.ttest_rel(table[0], table[1])
    assert (found.t, found.p) == pytest.approx((oracle.statistic, oracle.pvalue))
    assert found.interval() == pytest.approx(oracle.confidence_interval())


def test_the_spread_of_other_arms_widens_an_interval_and_never_narrows_it() -> None:
    calm = np.array([[0.0, 0.1, 0.0, 0.1], [1.0, 1.1, 1.1, 1.0]])
    wild = np.array([[5.0, 1.0, -4.0, 2.0], [1.0, -9.0, 3.0, 3.0]])
    alone = contrast_test(calm, [1, -1])
    beside_wild = contrast_test(np.vstack([calm, wild]), [1, -1, 0, 0])
    beside_calm = contrast_test(np.vstack([wild, calm]), [1, -1, 0, 0])
    assert beside_wild.se > alone.se
    assert beside_calm.se == pytest.approx(contrast_test(wild, [1, -1]).se)
    assert (alone.dof, beside_wild.dof) == (3, 6)


def test_a_seed_that_moves_every_arm_alike_moves_no_figure() -> None:
    table = np.random.default_rng(2).normal(size=(4, 6))
    moved = contrast_test(table + np.arange(6) * 100, [1, -1, -1, 1])
    still = contrast_test(table, [1, -1, -1, 1])
    assert (moved.estimate, moved.se) == pytest.approx((still.estimate, still.se))


def test_a_thousand_tables_at_once_are_each_of_them_by_itself() -> None:
    tables = np.random.default_rng(3).normal(size=(1000, 4, 3))
    at_once = contrast_test(tables, [1, -1, 0, 0])
    by_itself = [contrast_test(table, [1, -1, 0, 0]).p for table in tables]
    assert at_once.p == pytest.approx(np.array(by_itself))


def test_seeds_that_one_arm_lacks_count_in_the_residual_and_not_in_the_difference() -> None:
    table = np.array([[1.0, 2.0, 4.0, 50.0], [2.0, 2.5, 6.0, math.nan], [0.0, 1.0, 1.0, 9.0]])
    found = contrast_test(table, [1, -1, 0])
    assert found.n == 3
    assert found.estimate == pytest.approx(-3.5 / 3)
    assert residual(table).dof == 5


def test_equal_differences_are_infinitely_sure_and_none_at_all_is_unsure() -> None:
    assert contrast_test([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], [1, -1]).p == 0.0
    assert contrast_test([[1.0, 3.0, 1.0], [1.0, 3.0, 1.0]], [1, -1]).p == 1.0


def test_one_shared_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 or more shared seeds, got 1"):
        contrast_test([[1.0, math.nan], [2.0, 3.0]], [1, -1])
