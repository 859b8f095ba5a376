"""What a sweep does next: a pure function of its plan and its ledger rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jit_sweep.ledger.records import SETTLED, EntryRow, EntryState
from jit_sweep.plan.order import turn

TO_BE_BEGUN = frozenset({EntryState.WAITING, EntryState.OUT_OF_BUDGET})
"""States from which a trial may be begun: what the budget did not hold it may hold once another has ended early."""


class Target(NamedTuple):
    """A trial to bring to an image count; all entries of a sweep that need it share it."""

    trial_id: str
    images: int


@dataclass(frozen=True)
class Start:
    """Give this to a lane."""

    target: Target
    row: EntryRow


@dataclass(frozen=True)
class Align:
    """Bring what this stage's search has proposed to what the sweep file says now."""

    stage: int


@dataclass(frozen=True)
class Propose:
    """Ask the sampler of this stage for one more trial."""

    stage: int


@dataclass(frozen=True)
class Searched:
    """The search of this stage has proposed all that it will."""

    stage: int


@dataclass(frozen=True)
class LookAgain:
    """All trials of this stage have ended: what it plans next follows from their scores."""

    stage: int


@dataclass(frozen=True)
class OutOfBudget:
    """The budget holds none of what a stage still has to do, and nothing that runs may free some of it."""

    stage: int
    keys: tuple[str, ...]
    """Of the entries that did not stand so before."""
    why: str


@dataclass(frozen=True)
class Wait:
    """Something must end first, or some time pass."""


@dataclass(frozen=True)
class Over:
    """Every stage has ended."""


Step = Start | Align | Propose | Searched | LookAgain | OutOfBudget | Wait | Over


def _affordable(row: EntryRow) -> str:
    return ""


@dataclass(frozen=True)
class Now:
    """What a step depends on besides the ledger's rows."""

    at: float
    """Seconds since the epoch."""
    in_flight: Collection[Target] = ()
    alone: bool = False
    """Whether what is in flight must have nothing beside it."""
    shape: str = ""
    """What the lane that ended a trial last keeps: that trial's shape; empty before any has."""
    aligned: Collection[int] = ()
    """Stages whose former proposals this run has aligned."""
    searched: Collection[int] = ()
    """Stages of which the ledger knows that their searches have proposed all that they will."""
    growing: Collection[int] = ()
    """Stages that plan more as they run."""
    evaluators: bool = False
    """Whether what has been trained is scored by evaluators, and given to no lane."""
    refusal: Callable[[EntryRow], str] = _affordable
    """Why the budget does not hold an entry's trial; empty where it does."""

    @property
    def is_taken(self) -> bool:
        """Whether a trial runs that must have nothing beside it."""
        return self.alone and bool(self.in_flight)


def next_step(rows: Sequence[EntryRow], *, stages: int, proposals: Mapping[int, int], now: Now) -> Step:
    """A stage starts when the one before has ended; `proposals` says how many trials each search brings. A search starts with
    what it proposed in earlier runs.

    Within a stage, what has been begun goes first, the furthest before the others; then as `jit_sweep.plan.order.turn` says. Of
    these the first is taken that the budget holds.
    """
    for stage in range(stages):
        own = [row for row in rows if row.stage == stage]
        if stage in proposals and stage not in now.aligned:
            return Align(stage)
        step = _within(stage, own, proposals=proposals.get(stage, 0), now=now)
        if step is not None:
            return step
    return Over()


def _within(stage: int, rows: Sequence[EntryRow], *, proposals: int, now: Now) -> Step | None:
    """What a stage does next; None where it has ended."""
    waiting = [row for row in rows if row.state in TO_BE_BEGUN and target_of(row) not in now.in_flight]
    kept, under_way = now.shape, {row.shape for row in rows if target_of(row) in now.in_flight}
    in_order = sorted((row for row in waiting if _may_start(row, now)), key=lambda row: _order(row, kept, under_way))
    first = next((row for row in in_order if not now.refusal(row)), None)
    if first is not None:
        return Start(target_of(first), first)
    if _is_draining(waiting, now):
        return Wait()
    refused = [row for row in waiting if now.refusal(row)]
    if refused and any(_under_way(row, now) for row in rows):
        return Wait()
    if (fresh := [row for row in refused if row.state is EntryState.WAITING]) and len(refused) == len(waiting):
        return OutOfBudget(stage, tuple(row.key for row in fresh), now.refusal(fresh[0]))
    if len(rows) < proposals and not now.is_taken and not refused:
        return Propose(stage)
    if _has_searched(stage, rows, now):
        return Searched(stage)
    if len(refused) < len(waiting) or any(_under_way(row, now) for row in rows):
        return Wait()
    if _is_paused(rows):
        return Over()
    return LookAgain(stage) if stage in now.growing and not waiting else None


def _may_start(row: EntryRow, now: Now) -> bool:
    """Whether a waiting trial's time has come, it is a lane's, and the cluster is as empty as it must be."""
    if now.evaluators and row.is_trained:
        return False
    return row.not_before <= now.at and not (row.alone and now.in_flight) and not now.is_taken


def _is_draining(waiting: Sequence[EntryRow], now: Now) -> bool:
    """Whether what runs must end before a trial that runs alone: with more proposals the cluster would never be empty."""
    return bool(now.in_flight) and any(row.alone for row in waiting)


def _has_searched(stage: int, rows: Sequence[EntryRow], now: Now) -> bool:
    """Whether a search has proposed all that it will and the ledger does not know so yet."""
    return stage not in now.searched and any(row.origin == "search" for row in rows)


def _is_paused(rows: Sequence[EntryRow]) -> bool:
    """Whether the run ends within this stage: the next would build on trials that have not ended."""
    return any(row.state is EntryState.PAUSED for row in rows)


def target_of(row: EntryRow) -> Target:
    """What a lane must do for an entry."""
    return Target(row.trial_id, row.images)


def _under_way(row: EntryRow, now: Now) -> bool:
    return row.state is EntryState.RUNNING or (target_of(row) in now.in_flight and row.state not in SETTLED)


def _order(row: EntryRow, kept: str, under_way: Collection[str]) -> tuple[int, Any]:
    """Sorts what has been begun before the rest, the furthest first."""
    begun = row.attempt.images if row.attempt is not None else 0
    flops, seed, position = row.training_flops, row.seed, row.position
    return -begun, turn(row.shape, kept=kept, under_way=under_way, flops=flops, seed=seed, position=position)
