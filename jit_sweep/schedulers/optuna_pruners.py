"""Optuna's median and patient pruners, asked about a study that is rebuilt from what the arms of a race have shown."""

import statistics
import warnings
from collections.abc import Sequence

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, PatientPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from jit_sweep.schedulers.cutoff import Cut, awaiting, best_first
from jit_sweep.schedulers.race import Race, Racer, Verdict
from jit_sweep.spec.schedulers import Median, Patient
from trainables.evaluation.metrics.registry import metric_of


def stopping(scheduler: Median | Patient, race: Race) -> list[Verdict]:
    """Verdicts that are due: one on each arm at each gate, as it arrives."""
    return [_verdict(scheduler, race, racer, gate) for gate in range(race.gate_count) for racer in awaiting(race, gate)]


def _verdict(scheduler: Median | Patient, race: Race, racer: Racer, gate: int) -> Verdict:
    cut = Cut(scheduler, race, gate, best_first(race, gate, metric=scheduler.metric), keep=0, whole=race)
    allowed, spared = cut.allowance(), cut.spared(racer)
    where = f"at {racer.gates[gate]} images"
    if allowed is None or spared:
        return Verdict(racer.name, gate, True, f"{where}: {spared}")
    if isinstance(scheduler, Patient):
        return _patient(scheduler, racer, gate, allowed=allowed, where=where)
    return _median(scheduler, race, racer, gate, allowed=allowed, where=where)


def _median(scheduler: Median, race: Race, racer: Racer, gate: int, *, allowed: float, where: str) -> Verdict:
    ended = [other for other in race.racers if other is not racer and _has_ended(other)]
    there = [other.value(gate) for other in ended if other.values(gate)]
    if len(ended) < scheduler.startup_arms or not there:
        reason = (
            f"{len(ended)} arms have ended, {len(there)} with a value here; startup_arms={scheduler.startup_arms} must have"
        )
        return Verdict(racer.name, gate, True, f"{where}: {reason}")
    median = statistics.median(there)
    compared = f"the median of the {len(there)} arms that have ended, {median:.4g}"
    if not _prunes(MedianPruner(n_startup_trials=scheduler.startup_arms), scheduler.metric, ended, racer, gate):
        return Verdict(racer.name, gate, True, f"{where}: its best is no worse than {compared}")
    gap = abs(racer.value(gate) - median)
    reason = f"{where}: {gap:.4g} behind {compared}; luck explains {allowed:.4g}"
    return Verdict(racer.name, gate, gap < allowed, reason)


def _patient(scheduler: Patient, racer: Racer, gate: int, *, allowed: float, where: str) -> Verdict:
    """A worsening that luck explains is none."""
    forgiven = max(scheduler.min_delta, allowed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = PatientPruner(None, patience=scheduler.patience, min_delta=forgiven)
    stops = _prunes(pruner, scheduler.metric, [], racer, gate)
    are = "are all" if stops else "are not all"
    reason = f"the last {scheduler.patience + 1} rungs {are} worse than the best before, by more than {forgiven:.4g}"
    return Verdict(racer.name, gate, not stops, f"{where}: {reason}")


def _has_ended(racer: Racer) -> bool:
    """Whether it has come to its end, and has been measured on the way."""
    standings = {seed.standing for seed in racer.seeds}
    return "ended" in standings and "coming" not in standings and any(seed.values for seed in racer.seeds)


def _prunes(pruner: BasePruner, metric: str, ended: Sequence[Racer], racer: Racer, gate: int) -> bool:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=metric_of(metric).direction)
    for other in ended:
        values = _values(other, upto=len(other.gates) - 1)
        study.add_trial(create_trial(value=values[max(values)], intermediate_values=values))
    # A pruner reads a running trial's values and number; which study it was asked in makes no difference to it.
    asked = FrozenTrial(
        number=len(ended),
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values=_values(racer, upto=gate),
        trial_id=len(ended),
    )
    return bool(pruner.prune(study, asked))


def _values(racer: Racer, *, upto: int) -> dict[int, float]:
    return {gate: racer.value(gate) for gate in range(upto + 1) if racer.values(gate)}
