"""From a sweep's scheduler to the verdicts that are due. The same rows always give the same verdicts, in the same order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jit_sweep.schedulers.audit import audited
from jit_sweep.schedulers.halving import halving, promotion
from jit_sweep.schedulers.hyperband import hyperband
from jit_sweep.schedulers.pruners import stopping
from jit_sweep.schedulers.race import Race, Verdict
from jit_sweep.spec.schedulers import Early, Halving, Hyperband, Median, NoScheduler, Patient, PauseAndPromote


def _nothing(scheduler: NoScheduler, race: Race) -> list[Verdict]:
    return []


RULES: dict[type[Early | NoScheduler], Callable[[Any, Race], list[Verdict]]] = {
    NoScheduler: _nothing,
    Halving: halving,
    PauseAndPromote: promotion,
    Hyperband: hyperband,
    Median: stopping,
    Patient: stopping,
}
"""By their configuration, a member of `SchedulerSpec`: the verdicts that are due in a race and not yet recorded."""


class Judgement(NamedTuple):
    """What a scheduler says of a race."""

    verdicts: list[Verdict]
    race: Race
    """With these verdicts in it."""


@dataclass(frozen=True)
class Decider:
    """Judges races by a sweep's scheduler."""

    scheduler: Early | NoScheduler

    @property
    def metric(self) -> str | None:
        """What the races are judged by; None where nothing is."""
        return None if isinstance(self.scheduler, NoScheduler) else self.scheduler.metric

    def verdicts(self, race: Race) -> list[Verdict]:
        """Every verdict that is due and not yet recorded."""
        return self.judged(race).verdicts

    def judged(self, race: Race) -> "Judgement":
        """The same, with the race as it stands then."""
        verdicts: list[Verdict] = []
        # A verdict may make others due: an arm that goes on may have a value at the next gate already, of another sweep.
        while due := self._due(race):
            verdicts += due
            race = race.judged(due)
        return Judgement(verdicts, race)

    def _due(self, race: Race) -> list[Verdict]:
        if isinstance(self.scheduler, NoScheduler):
            return []
        due = RULES[type(self.scheduler)](self.scheduler, race)
        return [audited(verdict, one_in=self.scheduler.audit) for verdict in due]


NEVER_STOP = Decider(NoScheduler())
"""Judges nothing: every trial goes to its end."""
