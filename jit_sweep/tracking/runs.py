"""The runs of one sweep in MLflow: its own, which also holds the cursor, and below it one for each trial.

The ledger says which runs there are: one that somebody deleted is taken out of the bin, or made anew once the bin is emptied.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from jit_sweep.ledger.records import EntryRow, SweepRow
from jit_sweep.tracking.translation import Variant, fixed_tags, milliseconds, run_name, variant

_log = logging.getLogger(__name__)
PAGE = 1000
PARENT = "mlflow.parentRunId"
IDENTITY = "jit_sweep.identity"
KIND = "jit_sweep.kind"
CURSOR = "jit_sweep.cursor"
"""Id of the last ledger event that has reached MLflow."""
DESCRIBED = "jit_sweep.described"
"""Whether all of a run's parameters are there."""
MARK = "jit_sweep.mark."
"""Before the name of a series: the image count up to which a run has it."""
SCORED = "jit_sweep.scored"


@dataclass
class TrialRun:
    """One trial's run as MLflow has it."""

    run_id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def described(self) -> bool:
        return DESCRIBED in self.tags

    @property
    def scored(self) -> frozenset[int]:
        """The image counts whose scores have been delivered: a smaller budget may be scored after a larger one."""
        counts = self.tags.get(SCORED, "")
        return frozenset(int(count) for count in counts.split(",") if count)

    def with_scored(self, counts: Iterable[int]) -> dict[str, str]:
        """The tag that says so of these counts too."""
        return {SCORED: ",".join(map(str, sorted({*self.scored, *counts})))}

    def mark(self, series: str) -> int:
        """The image count up to which a series has been delivered; -1 where nothing has."""
        return int(self.tags.get(f"{MARK}{series}", -1))


@dataclass
class SweepRuns:
    """A sweep's own run and its trials' runs."""

    experiment_id: str
    parent: TrialRun
    identity: str
    sweep: str
    trials: dict[Variant, TrialRun]
    reported_at: float = 0.0
    """Of the event up to which the sweep's report was written last."""

    @property
    def cursor(self) -> int:
        return int(self.parent.tags.get(CURSOR, 0))

    def trial(self, client: MlflowClient, entry: EntryRow, *, at: float) -> TrialRun:
        """The run of an entry's trial, made if it has none; `at` is when it began."""
        known = self.trials.get(variant(entry))
        if known is not None:
            return known
        tags = {**fixed_tags(entry), KIND: "trial", IDENTITY: self.identity, PARENT: self.parent.run_id}
        tags |= {name: value for name, value in self.parent.tags.items() if name == "mlflow.source.git.commit"}
        run = client.create_run(self.experiment_id, start_time=milliseconds(at), tags=tags, run_name=run_name(entry))
        made = TrialRun(run.info.run_id, run.info.status, tags)
        self.trials[variant(entry)] = made
        return made


def identity(sweep: SweepRow) -> str:
    """Tells a sweep from another of its name in another ledger: their events are counted apart."""
    return f"{sweep.name}-{sweep.fingerprint}-{milliseconds(sweep.created_at)}"


@dataclass
class Found:
    """What MLflow has of a sweep, the bin included."""

    parents: list[Run] = field(default_factory=list)
    trials: dict[Variant, list[Run]] = field(default_factory=dict)

    def parent(self) -> Run | None:
        """The run that has been told most; one in the bin only where there is no other."""
        return max(self.parents, key=lambda run: (not in_bin(run), int(run.data.tags.get(CURSOR, 0))), default=None)

    def best_first(self, of_run: Variant, parent: str | None) -> list[Run]:
        """A trial's runs; first those of this parent, of these those not in the bin, of these the one with most in it."""
        runs = self.trials.get(of_run, [])
        return sorted(runs, key=lambda run: (run.data.tags[PARENT] != parent, in_bin(run), -len(run.data.metrics)))


def find(client: MlflowClient, experiment_id: str, sweep: SweepRow) -> SweepRuns | None:
    """The sweep's runs by one search, however many they are; None before the first delivery, and where the sweep's own run is
    gone for good. What is in the bin is taken out of it."""
    found = look(client, experiment_id, sweep)
    parent = found.parent()
    return None if parent is None else _runs(client, experiment_id, sweep, found, parent=_live(client, parent))


def find_or_make(client: MlflowClient, experiment_id: str, sweep: SweepRow, *, tags: Mapping[str, str]) -> SweepRuns:
    """The sweep's runs; its own is made, with these tags beside those that identify it, if it has none. The trials' runs of one
    that is gone for good are this one's from now on."""
    found = look(client, experiment_id, sweep)
    if (parent := found.parent()) is not None:
        return _runs(client, experiment_id, sweep, found, parent=_live(client, parent))
    tags = {"sweep": sweep.name, KIND: "sweep", IDENTITY: identity(sweep), CURSOR: "0", **tags}
    run = client.create_run(experiment_id, start_time=milliseconds(sweep.created_at), tags=tags, run_name=sweep.name)
    _log.info("the sweep %s is run %s of experiment %s", sweep.name, run.info.run_id, experiment_id)
    return _runs(client, experiment_id, sweep, found, parent=TrialRun(run.info.run_id, run.info.status, tags))


def look(client: MlflowClient, experiment_id: str, sweep: SweepRow) -> Found:
    """All runs of a sweep. Nothing is changed."""
    found = Found()
    for run in _tagged(client, experiment_id, identity(sweep)):
        tags = run.data.tags
        if tags.get(KIND) == "sweep":
            found.parents.append(run)
        elif PARENT in tags:
            found.trials.setdefault(Variant(tags["trial"], tags["evaluation"]), []).append(run)
    return found


def _runs(client: MlflowClient, experiment_id: str, sweep: SweepRow, found: Found, *, parent: TrialRun) -> SweepRuns:
    """One run a trial, none in the bin, all below the parent; another run of the same trial goes into the bin."""
    trials: dict[Variant, TrialRun] = {}
    for of_run in found.trials:
        chosen, *others = found.best_first(of_run, parent.run_id)
        trials[of_run] = trial = _live(client, chosen)
        if trial.tags[PARENT] != parent.run_id:
            client.set_tag(trial.run_id, PARENT, parent.run_id)
            trial.tags[PARENT] = parent.run_id
        for other in others:
            if not in_bin(other):
                client.delete_run(other.info.run_id)
                _log.warning("the run %s doubles %s; it is in MLflow's bin now", other.info.run_id, trial.run_id)
    return SweepRuns(experiment_id, parent, identity(sweep), sweep.name, trials)


def _live(client: MlflowClient, run: Run) -> TrialRun:
    """A run, out of the bin."""
    if in_bin(run):
        client.restore_run(run.info.run_id)
        _log.warning("the run %s had been deleted; it is back, since the ledger has what it shows", run.info.run_id)
    return TrialRun(run.info.run_id, run.info.status, dict(run.data.tags))


def in_bin(run: Run) -> bool:
    """Whether somebody has deleted it; it can be restored."""
    return str(run.info.lifecycle_stage) == "deleted"


def _tagged(client: MlflowClient, experiment_id: str, wanted: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        condition = f"tags.`{IDENTITY}` = '{wanted}'"
        page = client.search_runs(
            [experiment_id], filter_string=condition, run_view_type=ViewType.ALL, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return
