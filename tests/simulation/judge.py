"""A second judge of early stopping, written from the papers and the event log; nothing of `jit_sweep.schedulers` is used.

Successive halving: arXiv 1502.07943, algorithm 1: of the n arms at a rung, floor(n / eta) go on. Asynchronous: arXiv
1810.05934, algorithm 2: an arm goes on where it is in the top floor(n / eta) of those that are there by then. The rules
beyond the papers are the sweep file's: at least one goes on, arms of planned contrasts are never stopped, an arm is spared
whose gap to the last that goes on is below twice the deviation of their means' difference, and so is one of which a seed
has its score.
"""

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.spec.schedulers import Early, Halving, Hyperband, Ladder, Median, NoScheduler, Patient, PauseAndPromote


@dataclass
class Arm:
    """One arm of a race as the event log has it."""

    name: str
    position: int
    gates: tuple[int, ...]
    trials: dict[int, str] = field(default_factory=dict)
    """By seed."""
    protected: bool = False
    stopped: bool = False


@dataclass
class Log:
    """What the events before a verdict say."""

    metric: str
    arms: defaultdict[str, dict[str, Arm]] = field(default_factory=lambda: defaultdict(dict))
    values: dict[tuple[str, int], float] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Trials that bring no value any more."""
    diverged: set[str] = field(default_factory=set)
    scored: set[str] = field(default_factory=set)

    def read(self, event: EventRow) -> None:
        data, trial = event.data, event.trial_id or ""
        match event.kind:
            case EventKind.ENTRIES_ADDED:
                self._plan(data["planned"])
            case EventKind.RUNG if self.metric in data["values"]:
                self.values.setdefault((trial, data["images"]), data["values"][self.metric])
            case EventKind.SCORED:
                self.scored.add(trial)
            case EventKind.ENDED if data["outcome"] == "diverged":
                self.lost.add(trial)
                self.diverged.add(trial)
            case EventKind.FAILED if data["leaves"] == "failed":
                self.lost.add(trial)
            case EventKind.BUDGET_ENDED:
                self.lost |= {key.split(":")[1] for key in data["keys"]}
            case EventKind.BEGUN:  # what the budget did not hold at first
                self.lost -= {trial} - self.diverged
            case EventKind.REOPENED:  # what has failed is tried again
                self.lost &= self.diverged

    def _plan(self, planned: Sequence[Mapping[str, Any]]) -> None:
        for facts in planned:
            if facts["race"]:
                gates = tuple(facts["gates"])
                arm = self.arms[facts["race"]].setdefault(facts["racer"], Arm(facts["racer"], facts["position"], gates))
                arm.trials[facts["seed"]] = facts["key"].split(":")[1]
                arm.gates = gates  # a longer budget adds some
                arm.position = min(arm.position, facts["position"])
                arm.protected |= facts["protected"]

    def seen(self, arm: Arm, gate: int) -> list[float]:
        """An arm's values at a gate."""
        return [self.values[trial, arm.gates[gate]] for trial in arm.trials.values() if (trial, arm.gates[gate]) in self.values]

    def is_there(self, arm: Arm, gate: int) -> bool:
        """Whether all its seeds that live have a value there."""
        if gate >= len(arm.gates):
            return False
        at = arm.gates[gate]
        waited = [t for t in arm.trials.values() if (t, at) not in self.values and t not in self.lost | self.scored]
        return not waited and bool(self.seen(arm, gate))


Check = Callable[[Any, Log, Mapping[str, Arm], Arm, int, bool], None]


def check_verdicts(events: Sequence[EventRow], scheduler: Early | NoScheduler) -> None:
    """Every recorded verdict is what the rule says of the values that were known when it was made. AssertionError."""
    if isinstance(scheduler, NoScheduler):
        assert not any(event.kind is EventKind.JUDGED for event in events)
        return
    log = Log(scheduler.metric)
    for event in events:
        log.read(event)
        if event.kind is EventKind.JUDGED:
            arms = log.arms[event.data["race"]]
            arm, gate, go_on = arms[event.data["racer"]], event.data["gate"], event.data["go_on"]
            assert log.is_there(arm, gate), f"{arm.name} was judged at gate {gate}, where it has not arrived"
            assert not arm.stopped, f"{arm.name} was judged after it was stopped"
            CHECKS[type(scheduler)](scheduler, log, arms, arm, gate, go_on)
            arm.stopped = not go_on


def _ranked(log: Log, arms: Mapping[str, Arm], gate: int) -> list[Arm]:
    there = [arm for arm in arms.values() if log.is_there(arm, gate)]
    return sorted(there, key=lambda arm: (math.fsum(log.seen(arm, gate)) / len(log.seen(arm, gate)), arm.position))


def _by_rank(scheduler: Ladder, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    ranked = _ranked(log, arms, gate)
    kept = max(1, len(ranked) // scheduler.reduction)
    last = ranked[kept - 1]
    gap = _mean(log.seen(arm, gate)) - _mean(log.seen(last, gate))
    expected = arm in ranked[:kept] or _is_spared(scheduler, log, arm, gate, gap)
    assert go_on == expected, f"gate {gate}: {arm.name} is {ranked.index(arm) + 1} of {len(ranked)}, and went on: {go_on}"


def _is_spared(scheduler: Early, log: Log, arm: Arm, gate: int, gap: float) -> bool:
    return gap < _luck(scheduler, log, arm, gate) or _is_kept(scheduler, log, arm)


def _is_kept(scheduler: Early, log: Log, arm: Arm) -> bool:
    """Whatever its place: a planned contrast, an arm with a score, and the one in so many that SHA-256 draws."""
    drawn = scheduler.audit is not None and int(hashlib.sha256(arm.name.encode()).hexdigest(), 16) % scheduler.audit == 0
    return arm.protected or drawn or any(trial in log.scored for trial in arm.trials.values())


def _luck(scheduler: Early, log: Log, arm: Arm, gate: int) -> float:
    """z standard deviations of the difference of two means of as many seeds as the arm has there."""
    assert scheduler.s_train is not None
    deviation = math.sqrt(2 * (scheduler.s_train**2 + scheduler.s_eval**2) / len(log.seen(arm, gate)))
    return scheduler.luck * deviation


def _halving(scheduler: Halving, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    if scheduler.mode == "synchronous":
        _nobody_comes(log, arms, gate)
    _by_rank(scheduler, log, arms, arm, gate, go_on)


def _promotion(scheduler: PauseAndPromote, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    ranked = _ranked(log, arms, gate)
    promoted = ranked[: len(ranked) // scheduler.reduction]
    if arm in promoted or arm.protected:
        assert go_on, f"gate {gate}: {arm.name} is in the best share and was stopped"
    else:
        _nobody_comes(log, arms, gate)
        _by_rank(scheduler, log, arms, arm, gate, go_on)


def _hyperband(scheduler: Hyperband, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    """What holds in any bracket: the best arm of a gate goes on, and with it more than one arm stands there."""
    ranked = _ranked(log, arms, gate)
    assert go_on or ranked[0] is not arm, f"gate {gate}: the best, {arm.name}, was stopped"


def _median(scheduler: Median, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    ended = [other for other in arms.values() if other is not arm and _has_ended(log, other)]
    there = [_mean(log.seen(other, gate)) for other in ended if gate < len(other.gates) and log.seen(other, gate)]
    best = min(_mean(seen) for at in range(gate + 1) if (seen := log.seen(arm, at)))
    if len(ended) < scheduler.startup_arms or not there or best <= statistics.median(there):
        assert go_on, f"gate {gate}: {arm.name} was stopped, its best {best} of {there}"
    else:
        gap = abs(_mean(log.seen(arm, gate)) - statistics.median(there))
        assert go_on == _is_spared(scheduler, log, arm, gate, gap), f"gate {gate}: {arm.name}: {best} of {there}"


def _patient(scheduler: Patient, log: Log, arms: Mapping[str, Arm], arm: Arm, gate: int, go_on: bool) -> None:
    values = [_mean(seen) for at in range(gate + 1) if (seen := log.seen(arm, at))]
    before, after = values[: -(scheduler.patience + 1)], values[-(scheduler.patience + 1) :]
    forgiven = max(scheduler.min_delta, _luck(scheduler, log, arm, gate))
    worsens = bool(before) and min(before) + forgiven < min(after)
    assert go_on == (not worsens or _is_kept(scheduler, log, arm)), f"gate {gate}: {arm.name}: {values}"


def _has_ended(log: Log, arm: Arm) -> bool:
    trials = set(arm.trials.values())
    return bool(trials & log.scored) and trials <= log.scored | log.lost


def _nobody_comes(log: Log, arms: Mapping[str, Arm], gate: int) -> None:
    for other in arms.values():
        dead = all(trial in log.lost | log.scored for trial in other.trials.values())
        coming = gate < len(other.gates) and not other.stopped and not dead and not log.is_there(other, gate)
        assert not coming, f"gate {gate} was judged before {other.name} had come"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


CHECKS: Mapping[type, Check] = {
    Halving: _halving,
    PauseAndPromote: _promotion,
    Hyperband: _hyperband,
    Median: _median,
    Patient: _patient,
}
