"""Numbers have as many digits as their error allows."""

import pytest

from jit_sweep.report.numbers import compact, duration, rounded, with_error


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (1216.3, 24.1, "1,216 ± 24"),
        (0.202741, 0.000613, "0.20274 ± 0.00061"),
        (4.7612, 0.2849, "4.76 ± 0.28"),
        (123456.0, 4321.0, "123,500 ± 4,300"),
        (-0.5, 0.04, "-0.500 ± 0.040"),
        (1579.66, 3.99, "1,579.7 ± 4.0"),
        (3.14159, None, "3.142"),
        (3.14159, 0.0, "3.142"),
    ],
)
def test_a_value_ends_at_the_second_digit_of_its_error(value: float, error: float | None, shown: str) -> None:
    assert with_error(value, error) == shown


def test_a_value_whose_error_is_no_number_has_four_digits() -> None:
    assert rounded(312.50478, float("nan")) == "312.5"
    assert rounded(0.0, None) == "0"
    assert rounded(1234567.0) == "1,234,567"


@pytest.mark.parametrize(
    ("value", "shown"), [(950, "950"), (25_600, "25.6k"), (1.237e12, "1.237T"), (-2e6, "-2M"), (0.25, "0.25")]
)
def test_counts_are_short(value: float, shown: str) -> None:
    assert compact(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(12.2, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (59.7, "1 min 00 s")]
)
def test_durations_read_as_people_say_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
