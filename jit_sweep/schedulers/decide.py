"""From a sweep's scheduler to the verdicts that are due. The same rows always give the same verdicts, in the same order."""

from dataclasses import dataclass

from jit_sweep.schedulers.halving import halving, promotion
from jit_sweep.schedulers.hyperband import hyperband
from jit_sweep.schedulers.race import Race, Verdict
from jit_sweep.spec.schedulers import Early, Halving, Hyperband, Median, NoScheduler, Patient, PauseAndPromote


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
        found: list[Verdict] = []
        # A verdict may make others due: an arm that goes on may have a value at the next gate already, of another sweep.
        while due := _due(self.scheduler, race):
            found += due
            race = race.judged(due)
        return found


NEVER_STOP = Decider(NoScheduler())
"""Judges nothing: every trial goes to its end."""


def _due(scheduler: Early | NoScheduler, race: Race) -> list[Verdict]:
    match scheduler:
        case Halving():
            return halving(scheduler, race)
        case PauseAndPromote():
            return promotion(scheduler, race)
        case Hyperband():
            return hyperband(scheduler, race)
        case Median() | Patient():
            from jit_sweep.schedulers.optuna_pruners import stopping  # starts Optuna

            return stopping(scheduler, race)
        case _:
            return []
