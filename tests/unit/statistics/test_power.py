"""Power before launch: against the noncentral t, and against what the test then finds."""

import math

import numpy as np
import pytest

from jit_sweep.statistics.contrasts import contrast_test
from jit_sweep.statistics.power import detectable_gap, planned_precision
from tests.support.power import power

PAIR, CROSSED = (1.0, -1.0, 0.0, 0.0), (1.0, -1.0, -1.0, 1.0)


@pytest.mark.parametrize(
    ("seeds", "promised"),
    [(3, (6.2, 23.0, 50.3)), (4, (9.9, 41.2, 78.9)), (6, (17.7, 69.5, 97.2)), (8, (25.9, 85.7, 99.7))],
)
def test_the_planned_precision_has_the_published_power_at_gaps_of_one_two_and_three_deviations(
    seeds: int, promised: tuple[float, ...]
) -> None:
    precision = planned_precision(PAIR, sigma=1.0, seeds=seeds, residual_dof=3 * (seeds - 1))
    assert [100 * power(gap, precision, family=3) for gap in (1.0, 2.0, 3.0)] == pytest.approx(promised, abs=0.06)


def test_an_interaction_sees_gaps_only_larger_than_a_pair_does_by_the_root_of_two() -> None:
    pair, crossed = (planned_precision(c, sigma=0.02, seeds=5, residual_dof=12) for c in (PAIR, CROSSED))
    assert detectable_gap(crossed) == pytest.approx(math.sqrt(2) * detectable_gap(pair))


def test_the_planned_degrees_of_freedom_are_those_of_the_test() -> None:
    for arms, seeds in ((2, 3), (4, 3), (4, 6), (8, 5)):
        c = [1.0, -1.0, *[0.0] * (arms - 2)]
        found = contrast_test(np.random.default_rng(0).normal(size=(arms, seeds)), c)
        assert planned_precision(c, sigma=1.0, seeds=seeds, residual_dof=(arms - 1) * (seeds - 1)).dof == found.dof


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_detectable_gap_is_seen_about_four_times_in_five(seeds: int) -> None:
    precision = planned_precision(PAIR, sigma=1.0, seeds=seeds, residual_dof=3 * (seeds - 1))
    assert power(detectable_gap(precision, family=3), precision, family=3) == pytest.approx(0.8, abs=0.05)
