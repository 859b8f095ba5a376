"""The ledger against MLflow and its registry: every event has its point, every trial one run, every version its files."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from jit_sweep.doctor.discrepancy import Discrepancy
from jit_sweep.ledger.event_records import EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.tracking.audit import Audit, Lacking, audit, restore, write_points
from trainables.config.fields import counted

_BACK = "--repair brings them back from the ledger"
_RUNS = "the sweep, and every trial that began, has one run"
_NAMED = 3


def of_tracking(
    uri: str, reader: LedgerReader, sweep: str, events: Sequence[EventRow], *, deliver: Callable[[], object]
) -> Iterator[Discrepancy]:
    """What MLflow lacks, or has twice. `deliver` brings it up to date."""
    found = audit(uri, reader, sweep, events)
    yield from _of_runs(found, deliver)
    if found.undelivered and not found.no_run:
        late = f"{counted(found.undelivered, 'event')} have not arrived" if found.undelivered > 1 else "1 event has not arrived"
        yield Discrepancy("MLflow has every event", late, "the next run delivers them, and so does --repair", deliver)
    for lacking in found.lacking:
        yield Discrepancy("every event has its point", _lacks(lacking), _BACK, partial(write_points, uri, lacking))
    for version in found.versions:
        named = f"version {version.number} of {version.model}: {version.why}"
        remedy = "--repair restores it" if version.restorable else "delete that version, and promote the trial again"
        mend = partial(restore, uri, version.run_id) if version.restorable else None
        yield Discrepancy("every registered version has its run and its files", named, remedy, mend)


def _of_runs(found: Audit, deliver: Callable[[], object]) -> Iterator[Discrepancy]:
    if found.no_run:
        yield Discrepancy(_RUNS, "the sweep has no run in MLflow", "the next run makes it, and so does --repair", deliver)
        return
    for trial in found.deleted:
        yield Discrepancy(_RUNS, f"trial {trial} has none: somebody deleted it", _BACK, deliver)
    for name in found.twice:
        yield Discrepancy(_RUNS, f"{name} has several", "--repair puts the others into MLflow's bin", deliver)


def _lacks(lacking: Lacking) -> str:
    named = ", ".join(f"{point.key} at {point.step}" for point in lacking.points[:_NAMED])
    more = " and others" if len(lacking.points) > _NAMED else ""
    return f"the run of trial {lacking.trial_id} lacks {len(lacking.points)} of {lacking.of} points: {named}{more}"
