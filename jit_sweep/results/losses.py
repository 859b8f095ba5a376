"""How many seeds the arms of a question lost, and whether that is more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.results.arms import Arm
from jit_sweep.statistics.rates import rate_interval, same_rate_p
from jit_sweep.statistics.student_t import Interval


class SeedRate(NamedTuple):
    """Seeds of an arm that were lost or collapsed."""

    arm: str
    events: int
    of: int
    interval: Interval
    """Of the rate, exact, 95 %."""

    def __str__(self) -> str:
        low, high = (f"{100 * end:.0f}" for end in self.interval)
        return f"{self.arm} {self.events} of {self.of} ({low} to {high} %)"


class SeedRates(NamedTuple):
    """The rates of a question's arms."""

    arms: tuple[SeedRate, ...]
    p: float | None
    """That two arms have one rate, exact; None of more than two arms."""

    def __str__(self) -> str:
        p = f"; p {self.p:.2g} that the rates are one" if self.p is not None else ""
        shown = self.arms if self.p is not None else [rate for rate in self.arms if rate.events]
        return f"lost or collapsed: {', '.join(map(str, shown))}{p}"


def seed_rates(arms: Sequence[Arm]) -> SeedRates | None:
    """The rates of lost and collapsed seeds; None where no arm has any."""
    counts = [(arm.lost + arm.collapsed, len(arm.trials)) for arm in arms]
    if not any(count for count, _ in counts):
        return None
    rates = tuple(SeedRate(arm.label, *of, rate_interval(*of)) for arm, of in zip(arms, counts, strict=True))
    return SeedRates(rates, same_rate_p(*counts) if len(counts) == 2 else None)
