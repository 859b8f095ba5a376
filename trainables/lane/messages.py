"""The messages between a sweep's actor, a lane's workers and its owner: frozen records. Free of Ray and torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from trainables.assignment import Assignment
from trainables.config.fields import Frozen
from trainables.report import Decision, Report, TrialOutcome

TrialCause = Literal["out_of_memory", "storage_error", "infeasible", "data_error", "bug"]
"""Why a trial raised, as its worker sees it; names of the ledger's closed list of causes."""


class WorkerAddress(NamedTuple):
    """Where a worker runs."""

    rank: int
    host: str
    pid: int
    node: str
    """Ray's id of its node."""


class AttemptKey(NamedTuple):
    """Names an attempt at a trial, also after a restart of the actor."""

    trial: str
    attempt: int
    """Its number; it counts over all sweeps that share the trial."""


@dataclass(frozen=True)
class Offer:
    """A lane's owner has this trial for it, to be brought to `images`; its attempt opens with the first worker to take it."""

    trial: str
    images: int
    after: AttemptKey | None = None
    """The last attempt that an offer of this owner is known to it to have opened: tells one made again, since its answer was
    lost, from a new one for the same trial."""


@dataclass(frozen=True)
class WorkItem:
    """An attempt at a trial, as it is handed to a lane."""

    key: AttemptKey
    assignment: Assignment


@dataclass(frozen=True)
class NoWorkYet:
    """Answers a worker that asks for work: there is none yet, ask again."""


@dataclass(frozen=True)
class GoHome:
    """Answers a worker that asks for work: there will be none."""


@dataclass(frozen=True)
class NotOver:
    """Answers an owner: its offer was not taken yet, or its task is not over; ask again."""


@dataclass(frozen=True)
class TaskOutcome:
    """What became of what a lane was offered.

    `failed`: it raised, stalled, or its lane was lost. `fenced`: the attempt is no longer wanted. `replaced`: the lane has
    other work by now. Never begun: `stopping`, as the run ends; `busy`, as another sweep trains it; `known`, as its score or
    divergence is in the ledger; `too_dear`, as the budget has been given to another trial meanwhile.
    """

    outcome: TrialOutcome | Literal["failed", "fenced", "replaced", "stopping", "busy", "known", "too_dear"]
    images: int = 0
    """Trained on at its end; 0 where it did not say."""
    cause: str = ""
    """Of the ledger's closed list, where it failed."""
    lane_over: bool = False
    """Whether the lane ends with it."""
    workers: tuple[WorkerAddress, ...] = ()
    """The processes that are to be ended with the lane where they cannot end themselves."""


class Letter(Frozen):
    """One report of an attempt. Delivering it again changes nothing."""

    key: AttemptKey
    sequence: int
    """Rises by one with each report of the attempt."""
    report: Report


@dataclass(frozen=True)
class FencedOff:
    """Answers a letter: the attempt was replaced, and nothing that it reports is recorded any more."""

    reason: str


Answer = Decision | FencedOff
"""To a letter. Only a rung is answered with anything but `go_on`."""
