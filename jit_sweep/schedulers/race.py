"""What a scheduler knows: the arms that are compared with each other, and what each has shown at each gate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jit_sweep.statistics.luck import LUCK_Z, luck_allowance, typical_sd
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

    def awaits(self, gate: int) -> bool:
        """Whether this is the first gate at which it stands without a verdict."""
        waiting = (at for at in range(len(self.gates)) if at not in self.verdicts and self.arrived(at))
        return self.racing and next(waiting, None) == gate

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

    @property
    def gate_count(self) -> int:
        """How many gates the longest has."""
        return max((len(racer.gates) for racer in self.racers), default=0)

    def judged(self, verdicts: Sequence[Verdict]) -> "Race":
        """With some verdicts more."""
        by_name = {verdict.racer: verdict for verdict in verdicts}
        racers = (racer.judged(by_name[racer.name]) if racer.name in by_name else racer for racer in self.racers)
        return Race(self.label, tuple(racers), self.more_to_come)

    def among(self, racers: Sequence[Racer]) -> "Race":
        """A part of it."""
        return Race(self.label, tuple(racers), self.more_to_come)


def measured_noise(race: Race, gate: int) -> float | None:
    """Standard deviation over seeds at a gate, the median over the arms, so that one unstable arm does not stop the stopping;
    None where there are too few."""
    arms = [values for racer in race.racers if len(values := racer.values(gate)) > 1]
    freedom = sum(len(values) - 1 for values in arms)
    return typical_sd(arms) if freedom >= LEAST_FREEDOM else None


def allowance(*, s_train: float, s_eval: float, seeds: int = 1, z: float = LUCK_Z) -> float:
    """The gap between two means of so many seeds that luck explains: z standard deviations of their difference."""
    return luck_allowance(math.hypot(s_train, s_eval), seeds, z=z)
