"""Holm's correction, equivalence, rates and signs, against other implementations and worked cases."""

import math

import numpy as np
import pytest
from scipy import stats

from jit_sweep.statistics.contrasts import contrast_test
from jit_sweep.statistics.equivalence import equivalent
from jit_sweep.statistics.families import holm
from jit_sweep.statistics.luck import luck_allowance, typical_sd
from jit_sweep.statistics.rates import rate_interval, same_rate_p
from jit_sweep.statistics.sign_flips import MOST_SEEDS_FLIPPED, sign_flip_p


def rejected_step_by_step(p: list[float], alpha: float) -> set[int]:
    """Holm as he wrote it: the smallest p against alpha / m, the next against alpha / (m - 1), until one fails."""
    rejected: set[int] = set()
    for left, index in zip(range(len(p), 0, -1), sorted(range(len(p)), key=lambda i: p[i]), strict=True):
        if p[index] > alpha / left:
            break
        rejected.add(index)
    return rejected


def test_an_adjusted_p_below_alpha_is_what_the_step_wise_test_rejects() -> None:
    source = np.random.default_rng(5)
    for _ in range(200):
        p = [*source.beta(0.3, 3, size=source.integers(1, 9))]
        for alpha in (0.01, 0.05, 0.2):
            assert {*np.flatnonzero(holm(p) <= alpha)} == rejected_step_by_step(p, alpha)


def test_holm_s_figures_are_those_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_a_question_without_an_answer_keeps_its_place() -> None:
    assert holm([0.02, math.nan, math.nan]) == pytest.approx([0.06, 1.0, 1.0])


def test_families_at_once_are_each_by_itself() -> None:
    p = np.random.default_rng(6).random((50, 3))
    assert holm(p) == pytest.approx(np.array([holm(row) for row in p]))


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5, 1.0, 2.0])
def test_equivalence_is_two_one_sided_tests(margin: float) -> None:
    table = np.random.default_rng(7).normal(scale=0.3, size=(2, 6))
    differences = table[0] - table[1]
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    for family in (1, 3):
        found = equivalent(contrast_test(table, [1, -1]), margin=margin, family=family)
        assert found == (max(below, above) < 0.05 / family)


def test_flipped_signs_are_scipy_s() -> None:
    for seed in range(20):
        differences = [*np.random.default_rng(seed).normal(0.4, size=3 + seed % 6)]
        oracle = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(differences) == pytest.approx(oracle.pvalue)


def test_the_fewest_seeds_that_signs_can_tell_apart() -> None:
    assert [sign_flip_p([1.0] * n) for n in (3, 5, 6)] == [2 / 8, 2 / 32, 2 / 64]
    assert sign_flip_p([0.1] * 3) == 0.25
    assert (sign_flip_p([]), sign_flip_p([1.0] * (MOST_SEEDS_FLIPPED + 1))) == (None, None)


@pytest.mark.parametrize(("events", "trials"), [(0, 6), (1, 6), (3, 6), (6, 6), (2, 40)])
def test_the_interval_of_a_rate_is_scipy_s_exact_one(events: int, trials: int) -> None:
    oracle = stats.binomtest(events, trials).proportion_ci(method="exact")
    assert rate_interval(events, trials) == pytest.approx((oracle.low, oracle.high))


def test_two_rates_are_told_apart_exactly() -> None:
    assert same_rate_p((6, 6), (0, 6)) == pytest.approx(2 / math.comb(12, 6))
    assert same_rate_p((1, 6), (1, 6)) == pytest.approx(1.0)


def test_one_unstable_arm_does_not_widen_what_luck_explains() -> None:
    calm, wild = [1.0, 1.1, 1.2], [0.0, 50.0, -50.0]
    sd = typical_sd([calm, calm, wild, [3.0]])
    assert sd == pytest.approx(0.1)
    assert typical_sd([[1.0], []]) is None


def test_more_seeds_leave_less_to_luck() -> None:
    assert luck_allowance(0.1, 1) == pytest.approx(2 * math.sqrt(2) * 0.1)
    assert luck_allowance(0.1, 4, z=3) == pytest.approx(3 * math.sqrt(2) * 0.05)
