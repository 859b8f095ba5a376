"""Evaluators: lanes beside those that train, which bring trained trials to their scores.

Their work is the trial's own, from its last checkpoint on, and opens an attempt like any other: a lost evaluator loses nothing,
and the next one scores the trial with the same draws.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.cluster import OWNER_CPU
from jit_sweep.executor.dead_lanes import DeadLanes
from jit_sweep.executor.lane import Lane
from jit_sweep.executor.lane_config import LaneConfig
from jit_sweep.executor.schedule import TO_BE_BEGUN, Target, target_of
from jit_sweep.executor.searcher import BUSY_S, SweepOffice
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.records import Cause, EntryRow, EntryState
from jit_sweep.spec.sweep import Resources

DISMISS_S = 10.0


@dataclass
class _Evaluator:
    """One of them. Its worker group comes up with its first trial."""

    lane: Any = None
    """The actor of its `Lane`; None before its first trial, and once it has died."""
    task: Any = None
    """What its answer is waited for; None while it has nothing to do."""
    target: Target | None = None


class Evaluators:
    """Those of one run. `look` does not wait, and is called again and again."""

    def __init__(
        self,
        resources: Resources | None,
        *,
        actor: str,
        entries: LiveEntries,
        office: SweepOffice,
        guard: BudgetGuard,
        stopping: Callable[[], bool],
        lane: type[Lane] = Lane,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`resources`: of one, and how many there are; None: trials score themselves. `actor`: the name of the sweep's."""
        self._resources, self._actor = resources, actor
        self._entries, self._office, self._guard = entries, office, guard
        self._stopping, self._lane, self._clock = stopping, lane, clock
        self._all = [_Evaluator() for _ in range((resources.concurrent or 1) if resources is not None else 0)]
        self._not_before: dict[Target, float] = {}
        self._dead = DeadLanes()

    @property
    def busy(self) -> bool:
        """Whether one of them has a trial in hand."""
        return any(each.task is not None for each in self._all)

    def look(self) -> None:
        """Hear of what has ended, and hand out what has been trained."""
        for each in self._all:
            if each.task is not None and ray.wait([each.task], timeout=0)[0]:
                self._hear(each)
        free = [each for each in self._all if each.task is None]
        if free and not self._stopping():
            for each, row in zip(free, self._to_score(), strict=False):
                self._give(each, target_of(row))

    def wait(self, timeout_s: float) -> None:
        """Until one of them has ended its trial, at most so long."""
        if tasks := [each.task for each in self._all if each.task is not None]:
            ray.wait(tasks, timeout=timeout_s)

    def close(self) -> None:
        """Send their workers home."""
        lanes = [each.lane for each in self._all if each.lane is not None]
        if lanes:
            ray.wait([lane.dismiss.remote() for lane in lanes], num_returns=len(lanes), timeout=DISMISS_S)
        for lane in lanes:
            ray.kill(lane)

    def _to_score(self) -> list[EntryRow]:
        """One entry of each trained trial that waits, in the order of the plan."""
        rows, now = self._entries.rows(), self._clock()
        taken = {each.target for each in self._all if each.task is not None}
        waiting = [row for row in rows if row.state in TO_BE_BEGUN and row.is_trained and target_of(row) not in taken]
        if not waiting:
            return []
        refusal = self._guard.refusals(rows)
        due = [row for row in waiting if max(row.not_before, self._not_before.get(target_of(row), 0.0)) <= now]
        return [*{target_of(row): row for row in due if not refusal(row)}.values()]

    def _give(self, evaluator: _Evaluator, target: Target) -> None:
        if evaluator.lane is None:
            actor_class: Any = ray.remote(num_cpus=OWNER_CPU)(self._lane)
            assert self._resources is not None
            evaluator.lane = actor_class.remote(LaneConfig(actor=self._actor, resources=self._resources))
        evaluator.target = target
        evaluator.task = evaluator.lane.bring.remote(target.trial_id, target.images)

    def _hear(self, evaluator: _Evaluator) -> None:
        """Free an evaluator. What became of the trial is in the ledger by now, but for one whose evaluator died."""
        task, target = evaluator.task, evaluator.target
        assert target is not None
        evaluator.task = evaluator.target = None
        try:
            outcome = ray.get(task)
        except ray.exceptions.RayError:
            ray.kill(evaluator.lane)
            evaluator.lane = None
            self._lost(target)
        else:
            if outcome.outcome in ("busy", "too_dear"):
                self._not_before[target] = self._clock() + BUSY_S

    def _lost(self, target: Target) -> None:
        unbegun = self._office.give_up(target.trial_id)
        rows = self._entries.rows()
        cause = unbegun or _cause(rows, target)
        scored = sum(row.state is EntryState.DONE for row in rows)
        if why := self._dead.count(cause, images=scored, begun=unbegun is None):
            self._office.stop(failure=why)


def _cause(rows: Sequence[EntryRow], target: Target) -> Cause | None:
    return next((row.attempt.cause for row in rows if row.attempt is not None and target_of(row) == target), None)
