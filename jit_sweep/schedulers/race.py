"""What a scheduler knows: the arms that are compared with each other, and what each has shown at each gate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from jit_sweep.schedulers.standings import Standings
from jit_sweep.statistics.luck import LUCK_Z, luck_allowance
from jit_sweep.statistics.student_t import mean

Standing = Literal["coming", "ended", "lost"]
"""Of one seed: it can still bring values, it has its score, or it will bring none."""
LEAST_FREEDOM = 2
"""Degrees of freedom below which a spread over seeds is no measurement."""


class Verdict(NamedTuple):
    """Whether an arm goes on past a gate; it is final."""

    racer: str
    gate: int
    """An index into the racer's gates."""
    go_on: bool
    reason: str


@dataclass(frozen=True)
class Seed:
    """One trial of an arm."""

    seed: int
    standing: Standing
    values: Mapping[int, float]
    """By gate, an index into the racer's gates."""


@dataclass(frozen=True)
class Racer:
    """An arm: its seeds go on together or not at all."""

    name: str
    position: int
    gates: tuple[int, ...]
    """Image counts of its gates, rising; a gate is named elsewhere by its index here."""
    protected: bool
    """Part of a planned contrast."""
    seeds: tuple[Seed, ...]
    verdicts: Mapping[int, bool] = field(default_factory=dict)
    """By gate, an index into `gates`: whether it went on."""

    @property
    def stopped(self) -> bool:
        return not all(self.verdicts.values())

    @property
    def racing(self) -> bool:
        """Whether some seed can still bring values."""
        return not self.stopped and any(seed.standing == "coming" for seed in self.seeds)

    def arrived(self, gate: int) -> bool:
        """Whether every seed that can still bring a value here has, and there is one."""
        return any(gate in seed.values for seed in self.seeds) and not self.is_coming_to(gate)

    def is_coming_to(self, gate: int) -> bool:
        """Whether a value is still to be waited for: a seed that has been measured further on brings none."""
        awaited = any(seed.standing == "coming" and gate > max(seed.values, default=-1) for seed in self.seeds)
        return awaited and gate < len(self.gates) and not self.stopped

    def value(self, gate: int) -> float:
        """The arm's mean over the seeds that have a value."""
        return mean(self.values(gate))

    def values(self, gate: int) -> list[float]:
        return [seed.values[gate] for seed in self.seeds if gate in seed.values]

    @cached_property
    def awaited(self) -> int | None:
        """The first gate at which it stands without a verdict; None where there is none, or nothing can still come of it."""
        waiting = (at for at in range(len(self.gates)) if at not in self.verdicts and self.arrived(at))
        return next(waiting, None) if self.racing else None

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end, and has been measured on the way."""
        standings = {seed.standing for seed in self.seeds}
        return "ended" in standings and "coming" not in standings and any(seed.values for seed in self.seeds)

    def judged(self, verdict: Verdict) -> "Racer":
        """With a verdict more."""
        return Racer(
            self.name, self.position, self.gates, self.protected, self.seeds, {**self.verdicts, verdict.gate: verdict.go_on}
        )


@dataclass(frozen=True)
class Race:
    """Arms that are compared with each other, in the order of the plan."""

    label: str
    racers: tuple[Racer, ...]
    more_to_come: bool = False
    """Whether a search may still add arms."""

    @cached_property
    def standings(self) -> Standings:
        """How its arms stand at its gates. It goes over to the race that follows this one; asked again, it is made anew."""
        return Standings(self.racers)

    @property
    def gate_count(self) -> int:
        """How many gates the longest has."""
        return self.standings.gate_count

    def judged(self, verdicts: Sequence[Verdict]) -> "Race":
        """With some verdicts more."""
        by_name = self.standings.by_name
        return self.replaced([by_name[verdict.racer].judged(verdict) for verdict in verdicts if verdict.racer in by_name])

    def replaced(self, racers: Sequence[Racer]) -> "Race":
        """With some of its arms as they stand now."""
        standings = self.standings
        for racer in racers:
            standings.replace(racer)
        follows = Race(self.label, tuple(standings.by_name.values()), self.more_to_come)
        follows.__dict__["standings"] = self.__dict__.pop("standings")
        return follows

    def among(self, racers: Sequence[Racer]) -> "Race":
        """A part of it."""
        return Race(self.label, tuple(racers), self.more_to_come)


def measured_noise(race: Race, gate: int) -> float | None:
    """Standard deviation over seeds at a gate, the median over the arms, so that one unstable arm does not stop the stopping;
    None where there are too few."""
    spreads = race.standings.spreads(gate)
    return spreads.median if spreads.freedom >= LEAST_FREEDOM else None


def allowance(*, s_train: float, s_eval: float, seeds: int = 1, z: float = LUCK_Z) -> float:
    """The gap between two means of so many seeds that luck explains: z standard deviations of their difference."""
    return luck_allowance(math.hypot(s_train, s_eval), seeds, z=z)
