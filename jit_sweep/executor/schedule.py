"""What a sweep does next: a pure function of its plan and its ledger rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.records import EntryRow, EntryState
from trainables.cost import training_flops


class Work(NamedTuple):
    """A trial to bring to an image count; all entries of a sweep that need it share it."""

    trial_id: str
    images: int


@dataclass(frozen=True)
class Start:
    """Give this to a lane."""

    work: Work


@dataclass(frozen=True)
class Propose:
    """Ask the sampler of this stage for one more trial."""

    stage: int


@dataclass(frozen=True)
class Wait:
    """Something must end first."""


@dataclass(frozen=True)
class Over:
    """Every stage has ended."""


_UNDER_WAY = frozenset({EntryState.WAITING, EntryState.RUNNING, EntryState.PAUSED})


def next_step(
    rows: Sequence[EntryRow], *, stages: int, proposals: Mapping[int, int], in_flight: Collection[Work]
) -> Start | Propose | Wait | Over:
    """A stage starts when the one before has ended; `proposals` says how many trials each search may propose.

    Within a stage the longest trial goes first, so that the lanes end together; trials of one shape cost the same, and so
    stand together too.
    """
    for stage in range(stages):
        here = [row for row in rows if row.stage == stage]
        waiting = [row for row in here if row.state is EntryState.WAITING and work_of(row) not in in_flight]
        if waiting:
            return Start(work_of(min(waiting, key=_longest_first)))
        if len(here) < proposals.get(stage, 0):
            return Propose(stage)
        if any(row.state in _UNDER_WAY or work_of(row) in in_flight for row in here):
            return Wait()
    return Over()


def work_of(row: EntryRow) -> Work:
    return Work(row.trial_id, row.images)


def _longest_first(row: EntryRow) -> tuple[int, int, int]:
    return -training_flops(row.trial, images=row.images), row.seed, row.position
