"""What a mistyped name probably meant: the one rule behind every "did you mean"."""

import difflib
import re
from collections.abc import Iterable
from typing import Any


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one; None where none is alike."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A remedy in words, such as `did you mean 'steps'?`; `otherwise` where no known name is alike."""
    meant = nearest_name(name, known)
    return otherwise if meant is None else f"did you mean {meant!r}?"


def or_meant(rule: str, value: Any, *, expected: str) -> str:
    """A rule, and which of the names that pydantic `expected`, such as `'x', 'eps' or 'v'`, a value probably meant."""
    remedy = did_you_mean(value, expected_names(expected), otherwise="") if isinstance(value, str) else ""
    return f"{rule}; {remedy}" if remedy else rule


def expected_names(expected: str) -> list[str]:
    """The names in what pydantic `expected`."""
    return re.findall(r"'([^']*)'", expected)
