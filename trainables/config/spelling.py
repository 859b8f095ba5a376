"""What a mistyped name probably meant: the one rule behind every "did you mean"."""

import difflib
from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one; None where none is alike."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A remedy in words, such as `did you mean 'steps'?`; `otherwise` where no known name is alike."""
    meant = nearest_name(name, known)
    return otherwise if meant is None else f"did you mean {meant!r}?"
