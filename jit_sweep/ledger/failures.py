"""What follows from a failure: the closed list of causes, each with its rule. Pure, so that it can be read as a table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.ledger.records import AttemptRow, Cause, EntryState

EQUAL_BUGS = 3
"""Trials that end in one and the same error: more would be no news."""
_LONGEST_S = 300.0
_MOST_DOUBLINGS = 16


@dataclass(frozen=True)
class Rule:
    """How a cause is handled."""

    again: int | None = 0
    """Attempts more, after which the trial is left as it is; None: without end. Progress between two failures resets it."""
    first_wait_s: float = 0.0
    """Before the first of them; each wait is twice the one before, up to five minutes."""
    alone: bool = False
    """With nothing beside it on the cluster."""
    leaves: EntryState = EntryState.FAILED
    """What its entries are once there is no attempt more."""


RULES: dict[Cause, Rule] = {
    Cause.DIVERGED: Rule(leaves=EntryState.DIVERGED),
    Cause.OUT_OF_MEMORY: Rule(again=1, alone=True),
    Cause.INFEASIBLE: Rule(),
    Cause.WORKER_LOST: Rule(again=3, first_wait_s=1.0),
    Cause.NODE_LOST: Rule(again=5, first_wait_s=2.0),
    Cause.PREEMPTED: Rule(again=None, first_wait_s=2.0),
    Cause.DATA_ERROR: Rule(),
    Cause.STORAGE_ERROR: Rule(again=8, first_wait_s=5.0, leaves=EntryState.PAUSED),
    Cause.STALLED: Rule(again=1),
    Cause.BUG: Rule(),
    Cause.CANCELLED: Rule(leaves=EntryState.PAUSED),
    Cause.DRIVER_LOST: Rule(again=None),
}


@dataclass(frozen=True)
class FollowUp:
    """What becomes of the entries of a trial that failed."""

    leaves: EntryState
    wait_s: float = 0.0
    alone: bool = False
    why: str = ""
    """In one sentence."""


def follow_up(cause: Cause, before: Sequence[AttemptRow], *, images: int) -> FollowUp:
    """What follows where an attempt failed. `before`: the trial's earlier attempts in this run of the sweep, in order;
    images: what the failed one had committed."""
    rule = RULES[cause]
    repeated = _without_progress(cause, before, images=images)
    if rule.again is not None and repeated >= rule.again:
        tried = f", {repeated + 1} times without progress" if repeated else ""
        return FollowUp(
            rule.leaves, why=f"{cause}{tried}: not tried again in this run" if rule.leaves is not EntryState.DIVERGED else ""
        )
    wait_s = pause_s(cause, repeated)
    count = f"try {repeated + 1}" + (f" of {rule.again}" if rule.again is not None else "")
    beside = ", alone and with half the micro-batch" if rule.alone else ""
    pause = f" in {wait_s:g} s" if wait_s else ""
    return FollowUp(
        EntryState.WAITING, wait_s, rule.alone, f"{cause}: goes on from its last checkpoint{pause} ({count}{beside})"
    )


def pause_s(cause: Cause, repeated: int) -> float:
    """Seconds to wait before the next try, where as many tries have failed of this cause before."""
    wait_s: float = RULES[cause].first_wait_s * 2 ** min(repeated, _MOST_DOUBLINGS)
    return min(wait_s, _LONGEST_S)


def _without_progress(cause: Cause, before: Sequence[AttemptRow], *, images: int) -> int:
    """Failures of this cause that got as far as this one, whatever else came between: two causes in turn must end too."""
    return sum(attempt.cause is cause and (attempt.checkpoint_images or 0) >= images for attempt in before)


def signature(detail: str) -> str:
    """What two bugs have in common that are one: the error, and the place in the code; numbers in the message may differ."""
    lines = [line.strip() for line in detail.strip().splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    return " ".join([re.sub(r"\d+", "#", lines[-1] if lines else ""), *places[-1:]])
