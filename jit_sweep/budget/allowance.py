"""What of a sweep its budget still holds.

A trial pays to its next gate, where it may be stopped. Nothing begins that leaves too little for one of the trials that have
begun to come to its end.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from jit_sweep.budget.spending import Need, Spending, Spent, key_of, refusal, together
from jit_sweep.ledger.records import SETTLED, AttemptRow, EntryRow, EntryState
from jit_sweep.spec.budget import Budget
from trainables.config.trial import TrialConfig

Goal = tuple[str, int]
"""A trial, and the image count that it is to be brought to."""
_GOING_ON = frozenset({EntryState.WAITING, EntryState.HELD, EntryState.RUNNING, EntryState.OUT_OF_BUDGET})
"""States of an entry that may still get a score in this run."""


class Course(NamedTuple):
    """A trial on its way, in images."""

    trial: TrialConfig
    at: int
    """Where it is, or goes on from."""
    stop: int
    """The next gate at which it may be stopped, or its end."""
    end: int
    moving: bool
    """Whether a lane has it."""


@dataclass(frozen=True)
class Allowance:
    """What a sweep may still spend, as the ledger has it at one moment."""

    budget: Budget
    spending: Spending
    rows: Sequence[EntryRow]
    """All entries of the sweep."""
    handed_out: Sequence[EntryRow] = ()
    """Those that lanes have, or come up for."""

    def refusal(self, row: EntryRow, *, past: int = 0) -> str:
        """Why an entry's trial may not begin, or not go on past the gate that it stands at; empty where it may."""
        goal = _goal(row)
        course, known = self._course(goal, row.trial, past=past), self._under_way.get(goal)
        reserved = self._reserved(without=goal if known is not None and known.moving else None)
        begun = row.trial_id in self.spending.begun
        step = self.spending.need(course.trial, images=course.stop - course.at)
        if said := refusal(self.budget, self._spent, reserved, next_need=step, has_begun=begun):
            return said
        others = self._ends - Counter([self._to_end(known)] if known is not None else [])
        if not others and self._has_scored:
            return ""
        own = self.spending.need(course.trial, images=course.end - course.stop)
        refusals = [
            refusal(self.budget, self._spent, reserved, next_need=step, kept=kept, has_begun=begun) for kept in (own, *others)
        ]
        return refusals[0] if all(refusals) else ""

    @cached_property
    def _under_way(self) -> Mapping[Goal, Course]:
        """The trials that have begun or were handed out, and have no score yet."""
        moving = {**{_goal(row): row.trial for row in self.handed_out}, **self._open}
        begun = {
            _goal(row): row.trial
            for row in self.rows
            if row.state in _GOING_ON and row.trial_id in self.spending.begun and _goal(row) not in moving
        }
        return {goal: self._course(goal, trial) for goal, trial in (moving | begun).items()}

    def _course(self, goal: Goal, trial: TrialConfig, *, past: int = 0) -> Course:
        _, end = goal
        at = min(end, self._images_at(goal))
        shared = [set(row.gates) for row in self._entries[goal]]
        gates = set.intersection(*shared) if shared else set()
        stop = min((gate for gate in gates if gate > max(at, past)), default=end)
        moving = goal in self._open or goal in self._handed_out
        return Course(trial, at, stop, end, moving)

    def _images_at(self, goal: Goal) -> int:
        """How far a running trial is, or what another goes on from."""
        attempt = self._last.get(goal[0])
        if attempt is None:
            return 0
        if goal in self._open:
            return attempt.images
        saved = attempt.checkpoint_images
        return saved if saved is not None and saved <= goal[1] else 0

    def _reserved(self, *, without: Goal | None = None) -> Need:
        """What the trials that lanes have need to their next gates."""
        if without is None:
            return self._all_reserved
        return self._together([course for goal, course in self._under_way.items() if course.moving and goal != without])

    @cached_property
    def _all_reserved(self) -> Need:
        return self._together([course for course in self._under_way.values() if course.moving])

    def _together(self, courses: Sequence[Course]) -> Need:
        return together([self.spending.need(course.trial, images=course.stop - course.at) for course in courses])

    @cached_property
    def _ends(self) -> Counter[Need]:
        """What trials under way need to their ends, beyond what is reserved; of those whose ends the budget holds."""
        needs = Counter(self._to_end(course) for course in self._under_way.values())
        reserved = self._reserved()
        held = (need for need in needs if not refusal(self.budget, self._spent, reserved, next_need=need, has_begun=True))
        return Counter({need: needs[need] for need in held})

    def _to_end(self, course: Course) -> Need:
        return self.spending.need(course.trial, images=course.end - (course.stop if course.moving else course.at))

    @cached_property
    def _spent(self) -> Spent:
        """With the trials whose lanes still come up."""
        unseen = {trial_id for trial_id, _ in self._handed_out} - self.spending.begun
        return replace(self.spending.spent, trials=self.spending.spent.trials + len(unseen))

    @cached_property
    def _open(self) -> Mapping[Goal, TrialConfig]:
        runs = self.spending.open_now
        return {(run.trial_id, run.target_images): self.spending.trials[run.trial_id] for run in runs}

    @cached_property
    def _handed_out(self) -> frozenset[Goal]:
        return frozenset(_goal(row) for row in self.handed_out)

    @cached_property
    def _entries(self) -> Mapping[Goal, Sequence[EntryRow]]:
        """The entries that a trial is still wanted for."""
        entries: defaultdict[Goal, list[EntryRow]] = defaultdict(list)
        for row in self.rows:
            if row.state not in SETTLED:
                entries[_goal(row)].append(row)
        return entries

    @cached_property
    def _last(self) -> Mapping[str, AttemptRow]:
        """Each trial's last attempt, whichever sweep made it."""
        return {attempt.trial_id: attempt for attempt in sorted(self.spending.attempts, key=key_of)}

    @cached_property
    def _has_scored(self) -> bool:
        return any(row.state is EntryState.DONE for row in self.rows)


def _goal(row: EntryRow) -> Goal:
    return row.trial_id, row.images
