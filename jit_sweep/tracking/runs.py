"""The runs of one sweep in MLflow: its own, which also holds the cursor, and below it one for each trial."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Run

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


def find(client: MlflowClient, experiment_id: str, sweep: SweepRow) -> SweepRuns | None:
    """The sweep's runs by one search, however many they are; None before the first delivery."""
    parents, trials = list[TrialRun](), dict[str, dict[Variant, TrialRun]]()
    for run in _tagged(client, experiment_id, identity(sweep)):
        tags = dict(run.data.tags)
        trial = TrialRun(run.info.run_id, run.info.status, tags)
        if tags.get(KIND) == "sweep":
            parents.append(trial)
        elif PARENT in tags:
            trials.setdefault(tags[PARENT], {})[Variant(tags["trial"], tags["evaluation"])] = trial
    if not parents:
        return None
    parent = max(parents, key=lambda run: int(run.tags.get(CURSOR, 0)))
    return SweepRuns(experiment_id, parent, identity(sweep), sweep.name, trials.get(parent.run_id, {}))


def find_or_make(client: MlflowClient, experiment_id: str, sweep: SweepRow, *, tags: Mapping[str, str]) -> SweepRuns:
    """The sweep's runs; its own is made, with these tags beside those that identify it, if it has none."""
    runs = find(client, experiment_id, sweep)
    if runs is not None:
        return runs
    tags = {"sweep": sweep.name, KIND: "sweep", IDENTITY: identity(sweep), CURSOR: "0", **tags}
    run = client.create_run(experiment_id, start_time=milliseconds(sweep.created_at), tags=tags, run_name=sweep.name)
    _log.info("the sweep %s is run %s of experiment %s", sweep.name, run.info.run_id, experiment_id)
    return SweepRuns(experiment_id, TrialRun(run.info.run_id, run.info.status, tags), identity(sweep), sweep.name, {})


def _tagged(client: MlflowClient, experiment_id: str, wanted: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        condition = f"tags.`{IDENTITY}` = '{wanted}'"
        page = client.search_runs([experiment_id], filter_string=condition, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
