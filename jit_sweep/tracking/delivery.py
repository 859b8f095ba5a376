"""One page of the ledger's event log as it is written into MLflow's runs."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from jit_sweep.budget.costs import read_costs
from jit_sweep.ledger.event_records import EventKind, EventRow, Finished, Tuned
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, SETTLED, EntryRow, EntryState, SweepState
from jit_sweep.report.contents import read_report
from jit_sweep.report.write import as_text
from jit_sweep.results.leaderboard import read_results
from jit_sweep.results.pareto import front_in
from jit_sweep.results.sample_grids import read_grid
from jit_sweep.tracking import summary, translation
from jit_sweep.tracking.runs import CURSOR, DESCRIBED, MARK, SweepRuns, TrialRun
from jit_sweep.tracking.translation import Variant, milliseconds, variant
from trainables.report import Progress, Rung, Scored

MOST_METRICS = 800
"""In one request; MLflow takes 1000 things, parameters and tags among them."""
MOST_PARAMS = 100
"""In one request, by MLflow's own rule."""
REPORT_EVERY_S = 120.0
"""While scores come in: a report takes about a second of one core."""
DESCRIPTION = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""
SAMPLES = "samples"
"""The folder of a run's artifacts that has the pictures of scored samples."""
_MEASURED = frozenset({EventKind.PROGRESS, EventKind.RUNG, EventKind.SCORED})
STATES_STAY = frozenset(
    {
        EventKind.PHASE,
        EventKind.SET_BACK,
        EventKind.PROGRESS,
        EventKind.ACTIVITY,
        EventKind.RUNG,
        EventKind.COMMITTED,
        EventKind.EVALUATED,
        EventKind.TUNED,
        EventKind.NOISE,
    }
)
"""Events after which every entry stands as before."""
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})


class Delivery:
    """One page of events on its way into a sweep's runs; every part of it can be done again without harm."""

    def __init__(
        self,
        client: MlflowClient,
        runs: SweepRuns,
        reader: LedgerReader,
        entries: Mapping[Variant, list[EntryRow]],
        *,
        storage: str | None,
    ) -> None:
        self._client, self._runs, self._reader, self._entries, self._storage = client, runs, reader, entries, storage

    def describe_sweep(self) -> None:
        """The sweep's file, and what makes it this sweep, once."""
        parent = self._runs.parent
        if parent.described:
            return
        sweep = self._reader.sweep(self._runs.sweep)
        self._client.log_dict(parent.run_id, dict(sweep.spec), "sweep.json")
        self._describe(parent, [Param(name, str(value)) for name, value in translation.flat(sweep.identity).items()])

    def write_trials(self, events: Sequence[EventRow]) -> None:
        """What each trial measured."""
        by_trial: dict[str, list[EventRow]] = {}
        for event in events:
            if event.trial_id is not None:
                by_trial.setdefault(event.trial_id, []).append(event)
        for of_run, entries in self._entries.items():
            if of_run.trial_id in by_trial:
                self._write_trial(entries, by_trial[of_run.trial_id])

    def _write_trial(self, entries: Sequence[EntryRow], events: Sequence[EventRow]) -> None:
        entry = entries[0]
        run = self._run(entry, at=events[0].at)
        own = [event for event in events if is_about(event, entry)]
        new = fresh(run, own)
        tags: dict[str, str] = {}
        scored: list[int] = []
        for event in new:
            match event.content:
                case Scored(images=images, grid=grid):
                    self._upload_picture(run, grid, folder=SAMPLES, images=images)
                    scored.append(images)
                case Progress(images=images) | Rung(images=images):
                    tags[f"{MARK}{event.kind}"] = str(images)
            if isinstance(event.content, Rung):
                for kind, address in event.content.pictures.items():
                    self._upload_picture(run, address, folder=kind, images=event.content.images)
        if scored:
            tags |= run.with_scored(scored)
        for event in own:
            if event.kind not in _MEASURED or event in new:
                tags |= translation.event_tags(event)
        self._log(run, [point for event in new for point in translation.points(event)], tags)

    def write_states(self) -> None:
        """How each trial stands; those that another sweep scored get their scores with it."""
        for entries in self._entries.values():
            known = self._runs.trials.get(variant(entries[0]))
            if known is None and not any(entry.state in SETTLED | LOST for entry in entries):
                continue
            run = known or self._run(entries[0], at=entries[0].updated_at)
            tags = translation.state_tags(entries)
            if any(entry.cached for entry in entries):
                self._write_cached(run, entries)
                tags["cached"] = "true"
            self._log(run, [], {name: value for name, value in tags.items() if run.tags.get(name) != value})
            self._set_status(run, translation.trial_status(entries), at=max(entry.updated_at for entry in entries))

    def _write_cached(self, run: TrialRun, entries: Sequence[EntryRow]) -> None:
        wanted = {entry.images for entry in entries if entry.cached and entry.state is EntryState.DONE}
        wanted -= run.scored
        if not wanted:
            return
        for score in sorted(self._reader.scores(self._runs.sweep), key=lambda score: score.images):
            if Variant(score.trial_id, score.evaluation_id) == variant(entries[0]) and score.images in wanted:
                self._upload_picture(run, score.grid, folder=SAMPLES, images=score.images)
                tags = run.with_scored([score.images]) | translation.score_tags(collapsed=score.collapsed)
                self._log(run, translation.score_points(score), tags)

    def write_sweep(self, events: Sequence[EventRow]) -> None:
        """The sweep's state, its results once it has ended, and last the cursor."""
        last, parent = events[-1], self._runs.parent
        state = SweepState.RUNNING
        if isinstance(last.content, Finished):
            state = last.content.state
            self._write_results(at=last.at)
        elif any(event.kind is EventKind.SCORED for event in events) and last.at >= self._runs.reported_at + REPORT_EVERY_S:
            self._write_report(at=last.at)
        self._set_status(parent, translation.sweep_status(state), at=last.at)
        self._log(parent, [], {"state": str(state), CURSOR: str(last.id)})

    def _write_results(self, *, at: float) -> None:
        results, run = read_results(self._reader, self._runs.sweep), self._runs.parent
        costs = read_costs(self._reader, self._runs.sweep)
        self._log(run, [*summary.arm_points(results, at=at), *summary.cost_points(costs, at=at)], {})
        self._client.log_text(run.run_id, summary.as_json(results, front_in(self._reader, results)), "leaderboard.json")
        self._write_report(at=at)

    def _write_report(self, *, at: float) -> None:
        """The report as it stands, and its answer as the run's description."""
        report, run = read_report(self._reader, self._runs.sweep), self._runs.parent
        self._client.log_text(run.run_id, as_text(report, ".html", storage=self._storage), "report.html")
        self._client.log_text(run.run_id, as_text(report, ".md", storage=self._storage), "report.md")
        self._log(run, [], {DESCRIPTION: summary.description(report)})
        self._runs.reported_at = at

    def _run(self, entry: EntryRow, *, at: float) -> TrialRun:
        run = self._runs.trial(self._client, entry, at=at)
        if not run.described:
            self._describe(run, translation.params(entry))
        return run

    def _describe(self, run: TrialRun, params: Sequence[Param]) -> None:
        """A run's parameters, and with the last of them the note that they are there: those that are, may be sent again."""
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run.run_id, params=list(params[first : first + MOST_PARAMS]))
        self._log(run, [], {DESCRIBED: "true"})

    def _log(self, run: TrialRun, points: Sequence[Metric], tags: Mapping[str, str]) -> None:
        """Points first, so that a mark never stands for points that are not there."""
        for first in range(0, len(points), MOST_METRICS):
            self._client.log_batch(run.run_id, metrics=list(points[first : first + MOST_METRICS]))
        if tags:
            self._client.log_batch(run.run_id, tags=translation.tags(tags))
            run.tags.update(tags)

    def _set_status(self, run: TrialRun, status: str, *, at: float) -> None:
        if status == run.status:
            return
        if status in _ENDED:
            self._client.set_terminated(run.run_id, status, end_time=milliseconds(at))
        else:
            self._client.update_run(run.run_id, status)
        run.status = status

    def _upload_picture(self, run: TrialRun, uri: str, *, folder: str, images: int) -> None:
        content = read_grid(uri, storage=self._storage)
        if content is None:
            return
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / f"{images:012d}.png"
            file.write_bytes(content)
            self._client.log_artifact(run.run_id, str(file), folder)


def is_about(event: EventRow, entry: EntryRow) -> bool:
    """Whether an event of an entry's trial belongs into the entry's run: a score does not where another evaluation made it."""
    match event.content:
        case Scored(evaluation=evaluation) | Tuned(evaluation_id=evaluation):
            return evaluation == entry.evaluation_id
        case _:
            return True


def fresh(run: TrialRun, events: Sequence[EventRow]) -> list[EventRow]:
    """The measurements beyond what the run has of their kind, in order: an attempt that starts again repeats some."""
    marks = {kind: run.mark(kind) for kind in _MEASURED - {EventKind.SCORED}}
    scored = set(run.scored)
    new = []
    for event in events:
        match event.content:
            case Scored(images=images):
                is_new = images not in scored
                scored.add(images)
            case Progress(images=images) | Rung(images=images):
                is_new = images > marks[event.kind]
                marks[event.kind] = max(images, marks[event.kind])
            case _:
                continue
        if is_new:
            new.append(event)
    return new
