"""Numbers with as many digits as their error allows. Pure."""

import math

ERROR_DIGITS = 2
"""Significant digits of an error; its value ends at the same place."""
VALUE_DIGITS = 4
"""Significant digits of a value whose error is not known."""
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def rounded(value: float, error: float | None = None) -> str:
    """A value down to the second digit of its error, such as `1216` of 1216.3 with 24; with four digits where none is known."""
    if error is None or not error > 0 or not math.isfinite(error):
        return f"{value:,.0f}" if abs(value) >= 10**VALUE_DIGITS else f"{value:.{VALUE_DIGITS}g}"
    return f"{round(value, _places(error)):,.{max(0, _places(error))}f}"


def with_error(value: float, error: float | None) -> str:
    """`0.20274 ± 0.00061`; the value alone where its error is not known."""
    if error is None or not error > 0:
        return rounded(value)
    return f"{rounded(value, error)} ± {rounded(error, error)}"


def compact(value: float) -> str:
    """A count in few letters, such as `25.6k` or `1.3T`; small ones as they are."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """`12 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _places(error: float) -> int:
    """Decimal places at which the second significant digit of an error stands; negative left of the point."""
    return ERROR_DIGITS - 1 - math.floor(math.log10(error))
