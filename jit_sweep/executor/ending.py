"""How a run of a sweep ended: a pure function of its ledger rows and of what stopped it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.ledger.records import SETTLED, EntryRow, SweepState
from jit_sweep.plan.entry import Plan

STOPPING_S = 60.0
"""How long a run that stops waits for a ledger that is away: longer than trials take to save."""


@dataclass(frozen=True)
class RunEnd:
    """How the trials' part of a run ended."""

    state: SweepState
    reason: str = ""
    """Why it did not go to its end; empty where it did, and for an interrupt."""


def tunes_after(plan: Plan, ended: RunEnd) -> bool:
    """Whether a run whose trials have ended so tunes how they sample, and records its end itself."""
    return ended.state is SweepState.DONE and plan.spec.evaluation.tune is not None


def run_end(
    rows: Sequence[EntryRow], *, failure: str, stopping: bool, reason: str, refused: str, unplanned: str = ""
) -> RunEnd:
    """The end of a run that hands nothing out any more.

    Args:
        rows: the sweep's entries.
        failure: why it counts as failed.
        stopping: whether its trials were asked to save and pause.
        reason: why the run itself asked for that.
        refused: why the budget ended before some of them.
        unplanned: why a stage trains nothing, which builds on others that have ended.
    """
    if failure:
        return RunEnd(SweepState.FAILED, failure)
    if stopping and not reason:
        return RunEnd(SweepState.INTERRUPTED)
    unsettled = any(row.state not in SETTLED and row.cause is None for row in rows)
    if reason or unsettled:
        paused = "some trials are paused, and running the sweep again goes on with them"
        return RunEnd(SweepState.INCOMPLETE, reason or refused or paused)
    if unplanned:
        return RunEnd(SweepState.INCOMPLETE, unplanned)
    return RunEnd(SweepState.DONE)
