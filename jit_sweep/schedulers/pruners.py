"""The median and the patient rule, as Optuna's pruners of these names have them, applied to the arms of a race."""

import statistics

from jit_sweep.schedulers.cutoff import Cut, awaiting, best_first
from jit_sweep.schedulers.race import Race, Racer, Verdict
from jit_sweep.spec.schedulers import Median, Patient
from trainables.evaluation.metrics.registry import metric_of


def stopping(scheduler: Median | Patient, race: Race) -> list[Verdict]:
    """Verdicts that are due: one on each arm at each gate, as it arrives."""
    return [_verdict(scheduler, race, racer, gate) for gate in range(race.gate_count) for racer in awaiting(race, gate)]


def _verdict(scheduler: Median | Patient, race: Race, racer: Racer, gate: int) -> Verdict:
    cut = Cut(scheduler, race, gate, best_first(race, gate, metric=scheduler.metric), keep=0, whole=race)
    allowed, spared = cut.allowance(racer), cut.spared(racer)
    where = f"at {racer.gates[gate]} images"
    if allowed is None or spared:
        return Verdict(racer.name, gate, True, f"{where}: {spared}")
    if isinstance(scheduler, Patient):
        return _patient(scheduler, racer, gate, allowed=allowed, where=where)
    return _median(scheduler, race, racer, gate, allowed=allowed, where=where)


def _median(scheduler: Median, race: Race, racer: Racer, gate: int, *, allowed: float, where: str) -> Verdict:
    """Stops an arm whose best value so far is worse than the median of those that have ended, at the same gate."""
    ended = list(race.standings.ended())
    there = [other.value(gate) for other in ended if other.values(gate)]
    if len(ended) < scheduler.startup_arms or not there:
        reason = (
            f"{len(ended)} arms have ended, {len(there)} with a value here; startup_arms={scheduler.startup_arms} must have"
        )
        return Verdict(racer.name, gate, True, f"{where}: {reason}")
    median, loss = statistics.median(there), metric_of(scheduler.metric).loss
    compared = f"the median of the {len(there)} arms that have ended, {median:.4g}"
    if min(_losses(racer, scheduler.metric, upto=gate)) <= loss(median):
        return Verdict(racer.name, gate, True, f"{where}: its best is no worse than {compared}")
    gap = abs(racer.value(gate) - median)
    reason = f"{where}: {gap:.4g} behind {compared}; luck explains {allowed:.4g}"
    return Verdict(racer.name, gate, gap < allowed, reason)


def _patient(scheduler: Patient, racer: Racer, gate: int, *, allowed: float, where: str) -> Verdict:
    """Stops an arm whose last values are all worse than its best before them. A worsening that luck explains is none."""
    forgiven, recent = max(scheduler.min_delta, allowed), scheduler.patience + 1
    losses = _losses(racer, scheduler.metric, upto=gate)
    before, after = losses[:-recent], losses[-recent:]
    stops = bool(before) and min(after) > min(before) + forgiven
    are = "are all" if stops else "are not all"
    reason = f"the last {recent} rungs {are} worse than the best before, by more than {forgiven:.4g}"
    return Verdict(racer.name, gate, not stops, f"{where}: {reason}")


def _losses(racer: Racer, metric: str, *, upto: int) -> list[float]:
    """What the arm has shown at its gates up to one, lower is better."""
    return [metric_of(metric).loss(racer.value(gate)) for gate in range(upto + 1) if racer.values(gate)]
