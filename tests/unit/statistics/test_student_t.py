"""The statistics behind a verdict, against closed forms and printed tables."""

import math

import pytest

from jit_sweep.statistics.student_t import Interval, mean, sample_sd, t_interval, t_quantile


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
    assert t_quantile(0.975, dof) == pytest.approx(quantile, rel=1e-9)


@pytest.mark.parametrize("p", [0.51, 0.75, 0.9, 0.995, 0.99999])
def test_one_and_two_degrees_of_freedom_have_closed_forms(p: float) -> None:
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-8)
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p))), rel=1e-8)


def test_the_median_of_t_is_zero() -> None:
    assert t_quantile(0.5, 7) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("p", "dof"), [(0.4, 3), (1.0, 3), (math.nan, 3), (0.975, 0)])
def test_a_quantile_that_does_not_exist_is_refused(p: float, dof: int) -> None:
    with pytest.raises(ValueError, match="needs 0.5 <= p < 1 and dof >= 1"):
        t_quantile(p, dof)


def test_the_interval_of_three_values_is_the_one_worked_by_hand() -> None:
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval is not None
    half = 4.302652730 / math.sqrt(3)
    assert interval == pytest.approx((2 - half, 2 + half))


def test_one_value_has_no_spread_and_no_interval() -> None:
    assert (mean([4.0]), sample_sd([4.0]), t_interval([4.0])) == (4.0, None, None)


def test_the_standard_deviation_divides_by_n_minus_one() -> None:
    assert sample_sd([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3))


def test_equal_differences_leave_a_point_that_excludes_zero_unless_it_is_zero() -> None:
    assert t_interval([2.0, 2.0]) == Interval(2.0, 2.0)
    assert Interval(2.0, 2.0).excludes_zero
    assert Interval(-2.0, -1.0).excludes_zero
    assert not Interval(0.0, 0.0).excludes_zero
    assert not Interval(-1.0, 1.0).excludes_zero
