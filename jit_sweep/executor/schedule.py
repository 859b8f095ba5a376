"""What a sweep does next: a pure function of its plan and its ledger rows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.spec import SearchStage, Stage
from trainables.cost import forward_flops


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
    rows: Sequence[EntryRow], *, stages: Sequence[Stage], in_flight: Collection[Work]
) -> Start | Propose | Wait | Over:
    """A stage starts when the one before has ended. Within it the longest trial goes first, so that the lanes end together;
    trials of one shape cost the same, and so stand together too."""
    for index, stage in enumerate(stages):
        here = [row for row in rows if row.stage == index]
        waiting = [row for row in here if row.state is EntryState.WAITING and work_of(row) not in in_flight]
        if waiting:
            return Start(work_of(min(waiting, key=lambda row: (-training_flops(row), row.seed, row.position))))
        if isinstance(stage, SearchStage) and len(here) < stage.search.trials:
            return Propose(index)
        if any(row.state in _UNDER_WAY or work_of(row) in in_flight for row in here):
            return Wait()
    return Over()


def work_of(row: EntryRow) -> Work:
    return Work(row.trial_id, row.images)


def training_flops(row: EntryRow) -> float:
    """FLOPs of a whole training: forward and twice that backward, over all images."""
    return 3.0 * forward_flops(row.trial) * row.images
