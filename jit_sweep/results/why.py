"""Why a trial stands as it does, in one sentence. Pure, from the ledger's rows and what the cluster has free."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.records import LOST, TRAINED, UNDER_WAY, AttemptRow, CostRow, EntryRow, EntryState, when
from jit_sweep.results.naming import full_id
from jit_sweep.results.words import activities_in_words
from jit_sweep.spec.sweep import Resources
from trainables.config.fields import counted, percent

AGAIN = "running its sweep's file again goes on with it"
"""The ledger does not know where the file is: no command line can be given."""


class Free(NamedTuple):
    """What a cluster could give a trial now."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class RunState:
    """How a sweep is run now: what its entries do not say."""

    resources: Resources
    """Of each trial."""
    running: bool
    """A process holds the sweep."""
    now: float
    """Unix time in seconds."""
    free: Free | None = None
    """What the cluster has free; None where it was not asked."""
    end_reason: str = ""
    """Why the last run stopped short; empty where it did not."""


def why(row: EntryRow, rows: Sequence[EntryRow], run: RunState) -> str:
    """Why an entry is in its state, in one sentence; `rows`: all entries of its sweep."""
    if row.superseded:
        return f"it is retired: the sweep file plans it no more; it is {row.state}"
    if not run.running and run.end_reason and row.state in (EntryState.WAITING, EntryState.PAUSED):
        return f"it waits: the last run ended, since {run.end_reason}"
    match row.state:
        case EntryState.WAITING:
            return _waits(row, rows, run)
        case EntryState.RUNNING:
            return _runs(row, running=run.running)
        case EntryState.HELD:
            return f"it is held: {row.why}"
        case EntryState.PRUNED:
            return f"it was stopped early: {row.why}"
        case EntryState.OUT_OF_BUDGET:
            return f"the budget does not hold it: {row.why}; with a larger one, {AGAIN}"
        case EntryState.PAUSED:
            return f"it is paused: {row.why or 'the run was asked to stop'}; {AGAIN}"
        case EntryState.DONE:
            return "it is done: its score was there before, from another sweep or stage" if row.cached else "it is done"
        case _:
            return _lost(row)


def history(attempts: Sequence[AttemptRow], seconds: Sequence[CostRow]) -> list[str]:
    """One line for each attempt at a trial; `seconds`: what they spent on which kind of work."""
    return [
        f"attempt {a.number} on {a.host}: {a.outcome or 'runs'}{f', {a.cause}' if a.cause else ''} at {a.images:,} images,"
        f" {when(a.started_at)}" + (f" to {when(a.ended_at)}" if a.ended_at else "") + _shares(a, seconds)
        for a in attempts
    ]


def _shares(attempt: AttemptRow, seconds: Sequence[CostRow]) -> str:
    """The shares of an attempt's work that were rungs and scores, and of its training that waited for images, where told."""
    own = {row.kind: row.seconds for row in seconds if (row.trial_id, row.attempt) == (attempt.trial_id, attempt.number)}
    evaluation, work = own.get("evaluation", 0.0), sum(spent for kind, spent in own.items() if kind != "data")
    train, waited = own.get("train", 0.0), own.get("data")
    return (f"; {percent(evaluation / work)} of its work was evaluation" if evaluation else "") + (
        f"; {percent(waited / train)} of training waited for images" if train and waited is not None else ""
    )


def entries_of(rows: Sequence[EntryRow], trial: str) -> list[EntryRow]:
    """The entries of a trial, whose id may be cut short. UserError: none, or several trials begin so."""
    known = full_id(trial, [row.trial_id for row in rows], option="--why")
    return [row for row in rows if row.trial_id == known]


def _waits(row: EntryRow, rows: Sequence[EntryRow], run: RunState) -> str:
    again = f" ({row.why})" if row.why else ""
    if not run.running:
        return f"it waits{again}: nobody runs the sweep now; {AGAIN}"
    if row.not_before > run.now:
        return f"it is tried again in {row.not_before - run.now:.0f} s ({row.why})"
    earlier = [other for other in rows if other.stage < row.stage and other.state in UNDER_WAY]
    if earlier:
        return f"it waits{again} for stage {earlier[0].stage} to end, with {counted(len(earlier), 'trial')} under way"
    if row.is_trained and row.why == TRAINED:
        return f"it is {row.why}"
    if row.alone:
        return f"it waits{again} until nothing else runs"
    beside = [other for other in rows if other.state is EntryState.RUNNING]
    if any(other.alone for other in beside):
        return f"it waits{again}: {beside[0].trial_id} must run alone, since it ran out of memory"
    return f"it waits{again} for a lane: {len(beside)} trials run now, and {_room(run.resources, run.free)}"


def _room(resources: Resources, free: Free | None) -> str:
    needs = f"{resources.workers * resources.cpus:g} CPU" + (
        f" and {resources.workers * resources.gpus:g} GPU" if resources.gpus else ""
    )
    if free is None:
        most = f", and at most {resources.concurrent} run at once" if resources.concurrent else ""
        return f"it needs {needs}{most}"
    return f"it needs {needs} where {free.cpus:g} CPU and {free.gpus:g} GPU are free"


def _runs(row: EntryRow, *, running: bool) -> str:
    attempt = row.attempt
    assert attempt is not None, "an entry that runs has an attempt"
    if not running:
        return f"it ran when its sweep's command was lost; {AGAIN}, from its last checkpoint"
    which = f" as attempt {attempt.number}" if attempt.number > 1 else ""
    about = f", {activities_in_words([attempt.activity])}" if attempt.activity is not None else ""
    return f"it runs on {attempt.host}{which}: {attempt.images:,} of {row.images:,} images{about}"


def _lost(row: EntryRow) -> str:
    assert row.state in LOST
    last = row.detail.strip().splitlines()[-1]
    return f"it {row.state}: {row.cause}: {last}" + (f"; {row.why}" if row.why else "")
