"""The ledger's rows as frozen records, and the closed lists their states come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, NamedTuple

from trainables.config.evaluation import RECORDED, EvaluationConfig
from trainables.config.shape import StepShape, lane_shape
from trainables.config.trial import TrialConfig
from trainables.evaluation.metrics.jackknife import standard_errors
from trainables.evaluation.metrics.registry import UNDRAWN, ScoredWeights, ScoreName, joined, parse, shown
from trainables.networks.cost import training_flops
from trainables.process_caches import ProcessCache
from trainables.report import Activity, RungPicture

AttemptOutcome = Literal["done", "trained", "paused", "stopped", "diverged", "failed", "driver_lost"]


class Cause(StrEnum):
    """Why an attempt did not reach its score; nothing else is ever recorded."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    INFEASIBLE = "infeasible"
    WORKER_LOST = "worker_lost"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    DATA_ERROR = "data_error"
    STORAGE_ERROR = "storage_error"
    STALLED = "stalled"
    BUG = "bug"
    CANCELLED = "cancelled"
    DRIVER_LOST = "driver_lost"


class EntryState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"
    """Stands at a rung and waits for the scheduler's verdict."""
    DONE = "done"
    PRUNED = "pruned"
    """Stopped early by the scheduler."""
    DIVERGED = "diverged"
    FAILED = "failed"
    OUT_OF_BUDGET = "out_of_budget"
    """The sweep's budget does not hold it, and nothing that runs may free some of it."""


SETTLED = frozenset({EntryState.DONE, EntryState.PRUNED, EntryState.DIVERGED})
"""States that running the sweep again does not change."""
UNDER_WAY = frozenset({EntryState.WAITING, EntryState.RUNNING, EntryState.HELD, EntryState.PAUSED})
"""States of an entry that a stage waits for."""
UNFINISHED = UNDER_WAY | {EntryState.OUT_OF_BUDGET}
"""States of an entry that may get a score yet, in this run or with a larger budget."""
LOST = frozenset({EntryState.DIVERGED, EntryState.FAILED})
"""Ended without a score."""


TRAINED = "trained, and waits for an evaluator"
"""Why an entry waits that has been trained to its end."""


class SweepState(StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    INCOMPLETE = "incomplete"
    """Ended by itself before its trials did: its budget is spent, or its storage was away for too long."""
    DONE = "done"
    FAILED = "failed"


class Owner(NamedTuple):
    """A process that runs sweeps."""

    host: str
    pid: int
    user: str
    started_at: float
    boot_id: str = ""
    """Of its machine's present boot; empty where nobody has told."""
    pid_namespace: str = ""
    process_start: int = 0
    """In the kernel's ticks since the boot."""

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (pid {self.pid})"


class SweepRow(NamedTuple):
    name: str
    fingerprint: str
    identity: Mapping[str, Any]
    """Baseline, data, objective and evaluation: what makes two runs of a name the same sweep."""
    spec: Mapping[str, Any]
    state: SweepState
    created_at: float
    updated_at: float
    counts: Mapping[EntryState, int]
    """Entries by state."""
    owner: Owner | None
    """Who took the lease last and has not given it back, or None."""
    is_run: bool
    """Whether the owner held the lease when this row was read."""
    stop_asked_by: str | None = None
    """Who has asked its run to stop."""

    @property
    def objective(self) -> str:
        return str(self.identity["objective"])

    @property
    def standing(self) -> SweepState:
        """Its state as seen from outside: a run that was killed could not record that it ended."""
        return SweepState.INTERRUPTED if self.state is SweepState.RUNNING and not self.is_run else self.state


class AttemptRow(NamedTuple):
    """One go at a trial. Its number counts over all sweeps that share the trial."""

    trial_id: str
    number: int
    sweep: str
    target_images: int
    lane: str
    host: str
    pid: int
    images: int
    """Trained on so far, over all attempts."""
    step: int
    images_per_second: float | None
    loss: float | None
    activity: Activity | None
    """What it is about while it does not train; as it was at its end, where it did not end itself."""
    micro_batch: int | None
    """Images that each worker held at once."""
    checkpoint: str | None
    """URI of the last committed checkpoint of this attempt."""
    checkpoint_images: int | None
    outcome: AttemptOutcome | None
    """None while it runs."""
    cause: Cause | None
    detail: str | None
    first_bad_step: int | None
    started_at: float
    updated_at: float
    ended_at: float | None


def attempt_row(columns: Sequence[Any]) -> AttemptRow:
    """The record of an attempt's columns, in the table's order."""
    row = AttemptRow(*columns)
    if row.activity is not None:
        row = row._replace(activity=Activity.model_validate(row.activity))
    return row if row.cause is None else row._replace(cause=Cause(row.cause))


_EVALUATIONS: ProcessCache[str, EvaluationConfig] = ProcessCache("recorded evaluations", most=100)


def _evaluation(recorded: str) -> EvaluationConfig:
    return EvaluationConfig.model_validate({**RECORDED, **json.loads(recorded)})


@dataclass(frozen=True)
class EntryRow:
    """A planned piece of a sweep and how it stands."""

    sweep: str
    key: str
    stage: int
    position: int
    arm: Mapping[str, str | int | float | bool | None]
    seed: int
    trial_id: str
    images: int
    evaluation_id: str
    rungs: tuple[int, ...]
    origin: Literal["grid", "search", "tuning"]
    """Whether verdicts may be about it, it was proposed, or it tunes an arm."""
    state: EntryState
    cached: bool
    """Done by a score that was there before: another sweep's, or another stage's."""
    updated_at: float
    attempt: AttemptRow | None
    """The last attempt that this sweep made for it."""
    not_before: float = field(default=0.0, kw_only=True)
    """When it may be tried again."""
    alone: bool = field(default=False, kw_only=True)
    """With nothing beside it on the cluster."""
    why: str = field(default="", kw_only=True)
    """Why it stands as it does, in one sentence; empty where that goes without saying."""
    race: str = field(default="", kw_only=True)
    racer: str = field(default="", kw_only=True)
    gates: tuple[int, ...] = field(default=(), kw_only=True)
    protected: bool = field(default=False, kw_only=True)
    stage_id: str = field(default="", kw_only=True)
    """What its stage is known by, whatever its place in the file."""
    content: str = field(default="", kw_only=True)
    """The content of its stage."""
    base: Mapping[str, str | int | float | bool | None] = field(default_factory=dict, kw_only=True)
    """The cell that a proposal changes, the arm that a trial tunes, or the best setting that an arm was given; else empty."""
    superseded: bool = field(default=False, kw_only=True)
    """Planned no more."""
    trial_json: str
    evaluation_json: str

    @cached_property
    def trial(self) -> TrialConfig:
        return TrialConfig.model_validate_json(self.trial_json)

    @cached_property
    def evaluation(self) -> EvaluationConfig:
        return _EVALUATIONS.get(self.evaluation_json, make=lambda: _evaluation(self.evaluation_json))

    @property
    def makes_again(self) -> bool:
        """Whether its images are held-out ones made again, and none that are drawn."""
        return '"autoencoder"' in self.trial_json and self.trial.method.kind == "autoencoder"

    @property
    def draws(self) -> bool:
        """Whether images are drawn of it, and scored."""
        return not any(f'"{kind}"' in self.trial_json for kind in UNDRAWN) or self.trial.draws

    @property
    def apart(self) -> int:
        """0 of what draws images from noise, 1 of what makes held-out ones again, 2 of what makes none: of unlike trials those
        with a higher one are no rivals of the others."""
        return 2 if not self.draws else int(self.makes_again)

    @property
    def judged(self) -> Mapping[str, str | int | float | bool | None]:
        """The arm that verdicts are about: of a tuning trial the one that it tunes."""
        return self.base if self.origin == "tuning" else self.arm

    @cached_property
    def training_flops(self) -> int:
        """FLOPs of training its trial to its budget."""
        return training_flops(self.trial, images=self.images)

    @cached_property
    def shape(self) -> StepShape:
        """What a lane that has trained it keeps for the next trial of this shape; empty where that is nothing."""
        return lane_shape(self.trial)

    def serves(self, attempt: AttemptRow) -> bool:
        """Whether this attempt is made for it now."""
        is_last = self.attempt is not None and self.attempt.number == attempt.number
        return is_last and self.trial_id == attempt.trial_id and self.state is EntryState.RUNNING

    @property
    def is_trained(self) -> bool:
        """Whether the checkpoint of its end is committed, so that it only needs its scores."""
        return self.attempt is not None and self.attempt.checkpoint_images == self.images

    @property
    def cause(self) -> Cause | None:
        """Why there is no score, where the entry diverged or failed."""
        if self.state not in LOST:
            return None
        if self.attempt is not None:
            return self.attempt.cause
        return Cause.DIVERGED if self.state is EntryState.DIVERGED else None

    @property
    def detail(self) -> str:
        """The cause in words; never empty where the entry diverged or failed."""
        if self.state not in LOST:
            return ""
        if self.attempt is None:
            return "known to diverge from an earlier sweep or stage"
        return self.attempt.detail or str(self.cause or self.state)


class ScoreRow(NamedTuple):
    trial_id: str
    images: int
    evaluation_id: str
    n: int
    """Generated images behind each value."""
    values: Mapping[str, float]
    """Of the weights that the evaluation names, by metric name."""
    raw_values: Mapping[str, float]
    """Of the trained weights as they are."""
    without_each: Mapping[str, Sequence[float]]
    """The values without each of equal groups of the images, by metric name."""
    raw_without_each: Mapping[str, Sequence[float]]
    grid: str
    """URI of the sample grid."""
    collapsed: bool
    """No better than a model that always predicts the mean image."""
    attempt: int
    code_version: str
    created_at: float

    @property
    def by_name(self) -> dict[str, float]:
        """Both weights' values by shown name."""
        return joined(self.values, self.raw_values)

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of the values by shown name, of drawing other images from the same weights; no seed is in them."""
        return joined(standard_errors(self.without_each), standard_errors(self.raw_without_each))

    def value(self, name: str) -> float | None:
        """One value by its shown name; None where it is missing."""
        metric, weights = parse(name)
        return (self.raw_values if weights == "raw" else self.values).get(metric)


class RungRow(NamedTuple):
    trial_id: str
    images: int
    metric: str
    weights: ScoredWeights
    value: float
    attempt: int
    created_at: float

    @property
    def name(self) -> str:
        """The value's shown name."""
        return shown(ScoreName(self.metric, self.weights))


class PictureRow(NamedTuple):
    """A picture that a trial drew at a rung."""

    trial_id: str
    images: int
    kind: RungPicture
    address: str
    """URI of the PNG."""


class VerdictRow(NamedTuple):
    """Whether an arm goes on past a gate."""

    race: str
    racer: str
    gate: int
    go_on: bool
    reason: str
    created_at: float


class HeldoutRow(NamedTuple):
    """The distances that real held-out images get: what a perfect model would score."""

    data_digest: str
    n: int
    values: Mapping[str, float]
    rows: Mapping[str, Mapping[str, float]]
    """What as many images score that are no model's and not real, by what they are."""


class CostRow(NamedTuple):
    """What an attempt that has ended spent on one kind of work."""

    trial_id: str
    attempt: int
    kind: Literal["train", "evaluation", "checkpoint", "data"]
    """`data` is the part of `train` that waited for images."""
    seconds: float


def when(at: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
