"""What MLflow and its registry lack of a sweep, or have twice, compared with the ledger; and what they lack written again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from jit_sweep.ledger.event_records import EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState, ScoreRow
from jit_sweep.tracking import client as mlflow_client
from jit_sweep.tracking import translation
from jit_sweep.tracking.delivery import MOST_METRICS, fresh, is_about
from jit_sweep.tracking.mirror import has_begun, of_runs
from jit_sweep.tracking.runs import CURSOR, Found, TrialRun, in_bin, look
from jit_sweep.tracking.translation import Variant

_PAGE = 1000


class Lacking(NamedTuple):
    """Points that a run does not have."""

    run_id: str
    trial_id: str
    points: tuple[Metric, ...]
    of: int
    """Points that it should have."""


class BadVersion(NamedTuple):
    """A version of a registered model, made of this sweep, that cannot be used."""

    model: str
    number: int
    run_id: str
    why: str
    restorable: bool
    """Whether its run is in the bin."""


class Audit(NamedTuple):
    """What is amiss."""

    no_run: bool = False
    """The sweep has no run of its own, or it is in the bin."""
    undelivered: int = 0
    deleted: tuple[str, ...] = ()
    """Trials that have begun and have no run, or one in the bin."""
    twice: tuple[str, ...] = ()
    """Trials, or the sweep, of which there are several runs."""
    lacking: tuple[Lacking, ...] = ()
    versions: tuple[BadVersion, ...] = ()


def audit(uri: str, reader: LedgerReader, sweep: str, events: Sequence[EventRow]) -> Audit:
    """Compare, and change nothing. UserError: MLflow does not answer."""
    with mlflow_client.answering(uri):
        client = mlflow_client.open_client(uri)
        row, experiment = reader.sweep(sweep), mlflow_client.experiment_id(client)
        found = look(client, experiment, row) if experiment is not None else Found()
        parent = found.parent()
        cursor = int(parent.data.tags.get(CURSOR, 0)) if parent is not None else 0
        told = [event for event in events if event.id <= cursor]
        entries = of_runs(reader.entries(sweep, every=True))
        own = parent.info.run_id if parent is not None else None
        live = {key: [run for run in found.best_first(key, own) if not in_bin(run)] for key in entries}
        reached = {event.trial_id for event in told}
        begun = [key for key, rows in entries.items() if key.trial_id in reached and any(map(has_begun, rows))]
        parents = [run for run in found.parents if not in_bin(run)]
        return Audit(
            no_run=not parents,
            undelivered=len(events) - len(told),
            deleted=tuple(key.trial_id for key in begun if not live[key]),
            twice=(*(sweep for _ in parents[1:2]), *(key.trial_id for key in begun if len(live[key]) > 1)),
            lacking=tuple(_lacking(client, reader, entries, live, told, sweep=sweep)),
            versions=tuple(_bad_versions(client, sweep)),
        )


def write_points(uri: str, lacking: Lacking) -> None:
    """Log what a run lacks, with the events' own steps and times."""
    with mlflow_client.answering(uri):
        client = mlflow_client.open_client(uri)
        for first in range(0, len(lacking.points), MOST_METRICS):
            client.log_batch(lacking.run_id, metrics=list(lacking.points[first : first + MOST_METRICS]))


def restore(uri: str, run_id: str) -> None:
    """Take a run out of the bin."""
    with mlflow_client.answering(uri):
        mlflow_client.open_client(uri).restore_run(run_id)


def _lacking(
    client: MlflowClient,
    reader: LedgerReader,
    entries: Mapping[Variant, Sequence[EntryRow]],
    live: Mapping[Variant, Sequence[Run]],
    told: Sequence[EventRow],
    *,
    sweep: str,
) -> Iterator[Lacking]:
    by_trial: dict[str, list[EventRow]] = {}
    for event in told:
        by_trial.setdefault(event.trial_id or "", []).append(event)
    scores = {(score.trial_id, score.evaluation_id, score.images): score for score in reader.scores(sweep, every=True)}
    for key, rows in entries.items():
        expected = [*_told(by_trial.get(key.trial_id, []), rows[0]), *_cached(rows, scores)]
        for run in live[key][:1]:
            lacks = tuple(_absent(client, run, expected))
            if lacks:
                yield Lacking(run.info.run_id, key.trial_id, lacks, len(expected))


def _told(events: Sequence[EventRow], entry: EntryRow) -> Iterator[Metric]:
    """The points of all events about an entry's run, but for what repeated attempts measured again."""
    for event in fresh(TrialRun("", ""), [event for event in events if is_about(event, entry)]):
        yield from translation.points(event)


def _cached(rows: Sequence[EntryRow], scores: Mapping[tuple[str, str, int], ScoreRow]) -> Iterator[Metric]:
    for row in rows:
        score = scores.get((row.trial_id, row.evaluation_id, row.images))
        if row.cached and row.state is EntryState.DONE and score is not None:
            yield from translation.score_points(score)


def _absent(client: MlflowClient, run: Run, expected: Sequence[Metric]) -> Iterator[Metric]:
    steps: dict[str, set[int]] = {}
    for point in expected:
        if point.key not in steps:
            has = client.get_metric_history(run.info.run_id, point.key) if point.key in run.data.metrics else []
            steps[point.key] = {one.step for one in has}
        if point.step not in steps[point.key]:
            yield point


def _bad_versions(client: MlflowClient, sweep: str) -> Iterator[BadVersion]:
    token: str | None = None
    while True:
        page = client.search_model_versions(max_results=_PAGE, page_token=token)
        for version in page:
            if version.tags.get("sweep") == sweep and "trial" in version.tags:
                why, restorable = _fault(client, str(version.run_id), str(version.source))
                if why:
                    yield BadVersion(str(version.name), int(version.version), str(version.run_id), why, restorable)
        token = page.token
        if not token:
            return


def _fault(client: MlflowClient, run_id: str, source: str) -> tuple[str, bool]:
    """Why a version cannot be used, empty where it can; and whether its run has only to be restored."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if not mlflow_client.missing(error):
            raise
        return f"its run {run_id} is gone for good", False
    if in_bin(run):
        return f"its run {run_id} is in MLflow's bin", True
    path = source.removeprefix(f"runs:/{run_id}/")
    return ("", False) if client.list_artifacts(run_id, path) else (f"its files are gone from {source}", False)
