"""What a sweep does next: a pure function of its plan and its ledger rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jit_sweep.ledger.records import SETTLED, EntryRow, EntryState
from jit_sweep.plan.order import turn


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
class Propose:
    """Ask the sampler of this stage for one more trial."""

    stage: int


@dataclass(frozen=True)
class Searched:
    """The search of this stage has proposed all that it will."""

    stage: int


@dataclass(frozen=True)
class Wait:
    """Something must end first, or some time pass."""


@dataclass(frozen=True)
class Over:
    """Every stage has ended."""


Step = Start | Propose | Searched | Wait | Over


@dataclass(frozen=True)
class Now:
    """What is so besides the ledger's rows."""

    at: float
    """Seconds since the epoch."""
    in_flight: Collection[Target] = ()
    alone: bool = False
    """Whether what is in flight must have nothing beside it."""
    shape: str = ""
    """Of the trial that a lane has ended last: what that lane keeps."""
    searched: Collection[int] = ()
    """Stages whose searches have proposed all that they will."""


def next_step(rows: Sequence[EntryRow], *, stages: int, proposals: Mapping[int, int], now: Now) -> Step:
    """A stage starts when the one before has ended; `proposals` says how many trials each search brings.

    Within a stage, what has been begun goes first, the furthest before the others; then as `jit_sweep.plan.order.turn` says.
    """
    for stage in range(stages):
        step = _within(stage, [row for row in rows if row.stage == stage], proposals=proposals.get(stage, 0), now=now)
        if step is not None:
            return step
    return Over()


def _within(stage: int, rows: Sequence[EntryRow], *, proposals: int, now: Now) -> Step | None:
    """What a stage does next; None where it has ended."""
    waiting = [row for row in rows if row.state is EntryState.WAITING and target_of(row) not in now.in_flight]
    ready = [row for row in waiting if row.not_before <= now.at and not (row.alone and now.in_flight)]
    if now.in_flight and now.alone:
        ready = []
    if ready:
        shapes = {row.shape for row in rows if target_of(row) in now.in_flight}
        first = min(ready, key=lambda row: _order(row, kept=now.shape, under_way=shapes))
        return Start(target_of(first), first)
    if any(row.alone for row in waiting) and now.in_flight:
        return Wait()  # what must run alone would never find the cluster empty
    if not (now.in_flight and now.alone) and len(rows) < proposals:
        return Propose(stage)
    if any(row.origin == "search" for row in rows) and stage not in now.searched:
        return Searched(stage)
    if waiting or any(_under_way(row, now) for row in rows):
        return Wait()
    paused = any(row.state is EntryState.PAUSED for row in rows)
    return Over() if paused else None  # what comes after would build on what is not there


def target_of(row: EntryRow) -> Target:
    return Target(row.trial_id, row.images)


def _under_way(row: EntryRow, now: Now) -> bool:
    return row.state is EntryState.RUNNING or (target_of(row) in now.in_flight and row.state not in SETTLED)


def _order(row: EntryRow, *, kept: str, under_way: Collection[str]) -> tuple[int, Any]:
    """Sorts what has been begun before the rest, the furthest first."""
    begun = row.attempt.images if row.attempt is not None else 0
    flops, seed, position = row.training_flops, row.seed, row.position
    return -begun, turn(row.shape, kept=kept, under_way=under_way, flops=flops, seed=seed, position=position)
