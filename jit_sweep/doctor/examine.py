"""A sweep's parts against each other: what is amiss, and what of it can be mended."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jit_sweep.doctor.discrepancy import Discrepancy, Looked
from jit_sweep.doctor.looks import of_looks
from jit_sweep.doctor.recorded import of_rows, of_verdicts
from jit_sweep.doctor.replay import every_event
from jit_sweep.doctor.shown import of_tracking
from jit_sweep.doctor.stored import of_trial, resume_points, scored_by_sweep
from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.redact import redact, redact_all
from jit_sweep.spec.stored import stored_spec
from jit_sweep.tracking.client import answering
from jit_sweep.tracking.mirror import Mirror

_ROUNDS = 3
"""How often what is mended is looked at again: a run that is brought back may lack points."""


@dataclass(frozen=True)
class Subject:
    """A sweep, and where its parts lie."""

    reader: LedgerReader
    sweep: str
    locations: Locations
    storages: Mapping[str, str]
    """Of every sweep of the ledger whose file can be read, since they share trials."""


def examine(subject: Subject) -> Looked:
    """Compare ledger, storage, MLflow and registry. Nothing is changed.

    UserError: no such sweep, or a part is out of reach.
    """
    reader, sweep = subject.reader, subject.sweep
    row = reader.sweep(sweep)
    scheduler = stored_spec(row.spec, sweep=sweep).scheduler
    events, busy = every_event(reader, sweep), reader.being_trained()
    findings = [*of_rows(reader, sweep, events), *of_verdicts(reader, sweep, events, scheduler), *of_looks(reader, sweep)]
    findings += _of_storages(subject, busy)
    if not row.is_run:  # a run delivers by itself
        findings += of_tracking(subject.locations.tracking, reader, sweep, events, deliver=deliverer(subject))
    counts = {
        "events": len(events),
        "scores": len(reader.scores(sweep, every=True)),
        "verdicts": sum(event.kind is EventKind.JUDGED for event in events),
    }
    trials = {entry.trial_id for entry in reader.entries(sweep, every=True)}
    return Looked(tuple(findings), counts, tuple(sorted(trials & busy)))


def repair(subject: Subject) -> tuple[tuple[Discrepancy, ...], Looked]:
    """Mend what can be mended; returns that, and what is found then. UserError: somebody runs the sweep."""
    row, mended = subject.reader.sweep(subject.sweep), list[Discrepancy]()
    if row.is_run:
        raise UserError(
            f"`--repair` needs a sweep that nobody runs, got {subject.sweep}, which {row.owner} runs; stop it first"
        )
    looked = examine(subject)
    for _ in range(_ROUNDS):
        able = [finding for finding in looked.findings if finding.mend is not None]
        if not able:
            break
        for mend in dict.fromkeys(finding.mend for finding in able):
            assert mend is not None
            mend()
        mended += able
        looked = examine(subject)
    left = {(finding.rule, finding.found) for finding in looked.findings}
    return tuple(finding for finding in mended if (finding.rule, finding.found) not in left), looked


def deliverer(subject: Subject) -> Callable[[], object]:
    """Brings MLflow up to date."""

    def deliver() -> int:
        locations = subject.locations
        with answering(locations.tracking):
            files, trials = locations.artifacts, locations.storage
            view = Mirror(locations.tracking, subject.reader, subject.sweep, artifacts=files, storage=trials)
            return view.deliver()

    return deliver


def _of_storages(subject: Subject, busy: frozenset[str]) -> Iterator[Discrepancy]:
    from trainables.storage.checkpoint import Store

    scored, points = scored_by_sweep(subject.reader, subject.sweep), resume_points(subject.reader, subject.sweep)
    for sweep in sorted({subject.sweep, *scored}):
        storage, own = subject.storages.get(sweep), points if sweep == subject.sweep else {}
        if storage is None:
            continue
        by_trial = scored.get(sweep, {})
        try:
            store = Store(storage)
            for trial in sorted((by_trial.keys() | own.keys()) - busy):
                yield from of_trial(store, trial, scored=by_trial.get(trial, []), goes_on_from=own.get(trial, 0))
        except (OSError, ValueError, ImportError) as error:
            rule = f"checkpoints in {redact(storage)} must be there to be looked at"
            raise UserError(f"{rule}, got: {redact_all(str(error), uri=storage)}; the same command looks again") from error
