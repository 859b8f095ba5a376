"""What is amiss, and what mends it."""

from collections.abc import Callable
from dataclasses import dataclass, field

Mend = Callable[[], object]


@dataclass(frozen=True)
class Discrepancy:
    """One place where two parts of a sweep do not agree."""

    rule: str
    """What must hold."""
    found: str
    remedy: str
    """What mends it, or why nothing does."""
    mend: Mend | None = field(default=None, repr=False, compare=False)
    """Does so; None where `--repair` cannot."""


@dataclass(frozen=True)
class Looked:
    """All findings, and how much was looked at."""

    findings: tuple[Discrepancy, ...]
    counts: dict[str, int]
    """By what was looked at."""
    in_training: tuple[str, ...] = ()
    """Trials of which no checkpoint was looked at, since they are being trained."""
