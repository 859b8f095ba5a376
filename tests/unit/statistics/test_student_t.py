"""The statistics behind a verdict, against closed forms and printed tables."""

import math

import pytest

from jit_sweep.statistics.student_t import Interval, mean, sample_sd, t_upper


@pytest.mark.parametrize(
    ("dof", "quantile"),
    [
        (1, 12.706204736),
        (2, 4.302652730),
        (3, 3.182446305),
        (5, 2.570581836),
        (10, 2.228138852),
        (30, 2.042272456),
        (1000, 1.962339081),
    ],
)
def test_the_t_quantiles_are_those_of_the_tables(dof: int, quantile: float) -> None:
    assert t_upper(dof, tail=0.025) == pytest.approx(quantile, rel=1e-9)


@pytest.mark.parametrize("p", [0.51, 0.75, 0.9, 0.995, 0.99999])
def test_one_and_two_degrees_of_freedom_have_closed_forms(p: float) -> None:
    assert t_upper(1, tail=1 - p) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-8)
    assert t_upper(2, tail=1 - p) == pytest.approx((2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p))), rel=1e-8)


def test_the_median_of_t_is_zero() -> None:
    assert t_upper(7, tail=0.5) == pytest.approx(0.0, abs=1e-9)


def test_one_value_has_no_spread() -> None:
    assert (mean([4.0]), sample_sd([4.0])) == (4.0, None)


def test_the_standard_deviation_divides_by_n_minus_one() -> None:
    assert sample_sd([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3))


def test_a_point_excludes_zero_unless_it_is_zero() -> None:
    assert Interval(2.0, 2.0).excludes_zero
    assert Interval(-2.0, -1.0).excludes_zero
    assert not Interval(0.0, 0.0).excludes_zero
    assert not Interval(-1.0, 1.0).excludes_zero
