"""The ledger's event log, typed: a trainer's report, or one of the ledger's own records of what it changed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from jit_sweep.ledger.records import Cause, EntryState, SweepState
from trainables.evaluation.metrics.jackknife import standard_errors
from trainables.report import Report

_REPORT: TypeAdapter[Report] = TypeAdapter(Report)


class EventKind(StrEnum):
    """What the event log holds. `data` of the trainer's kinds (phase to ended) is the report itself."""

    REGISTERED = "registered"
    ASKED = "asked"
    """Questions that the sweep's verdicts are to answer."""
    ENTRIES_ADDED = "entries_added"
    CACHE_HIT = "cache_hit"
    REOPENED = "reopened"
    RESCHEDULED = "rescheduled"
    """From now on another scheduler judges: the verdicts so far are void."""
    DIVERGED = "diverged"
    """Entries that a trial's divergence has closed, be it this sweep's or another's."""
    KNOWN_RUNGS = "known_rungs"
    """Rung values that another sweep's attempts have measured, and that this sweep's races are judged by."""
    WAITS = "waits"
    """A lane was given a trial and could not begin it yet."""
    BEGUN = "begun"
    PHASE = "phase"
    SET_BACK = "set_back"
    """A trial goes on from less than it had."""
    PROGRESS = "progress"
    ACTIVITY = "activity"
    RUNG = "rung"
    COMMITTED = "committed"
    SCORED = "scored"
    EVALUATED = "evaluated"
    """Somebody has had a trial scored by an evaluation of his own."""
    TUNED = "tuned"
    """A trial's own best setting of sampling has been searched for and confirmed."""
    NOISE = "noise"
    """How far equal trials of the sweep come out apart, trained again and drawn again."""
    ENDED = "ended"
    FAILED = "failed"
    JUDGED = "judged"
    """An arm's verdict at a gate."""
    SEARCHED = "searched"
    """A search has proposed all that it will."""
    BUDGET_ENDED = "budget_ended"
    """Entries that the budget does not hold: those they are compared with wait for them no longer."""
    STOP_ASKED = "stop_asked"
    FINISHED = "finished"


class LedgerRecord(BaseModel):
    """Base of what the ledger itself records. Of an older version's records, fields that are read no more are left out, and
    fields that they lack have a default."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[EventKind]


class Registered(LedgerRecord):
    """A sweep was entered, or taken up again by a run that may search on."""

    kind = EventKind.REGISTERED
    fingerprint: str


class Asked(LedgerRecord):
    """Questions that the sweep's verdicts are to answer, and how: what was scored before it is known when they are asked."""

    kind = EventKind.ASKED
    plan_id: str
    """Hash of all of it."""
    by_default: bool
    """Whether they follow from the grids alone, and so were settled when the sweep was entered."""
    questions: dict[str, str]
    """In words, by key."""
    objective: str
    alpha: float
    margin: float | None


class EntriesAdded(LedgerRecord):
    """What a sweep plans has changed."""

    kind = EventKind.ENTRIES_ADDED
    count: int
    """Entries that are new."""
    planned: tuple[dict[str, Any], ...] = ()
    """Columns of those that are new, or planned otherwise than before; empty in a record of schema 1."""
    hidden: tuple[str, ...] = ()
    """Keys of those that are planned no more."""


class CacheHit(LedgerRecord):
    """An entry is done by a score that no attempt of its own made."""

    kind = EventKind.CACHE_HIT
    key: str
    attempt: int
    """That made the score."""
    age_s: float
    code_version: str


class EntriesDiverged(LedgerRecord):
    """Entries that a trial's divergence has closed."""

    kind = EventKind.DIVERGED
    keys: tuple[str, ...]


class Reopened(LedgerRecord):
    """A sweep's next run has begun."""

    kind = EventKind.REOPENED
    lost_attempts: int
    """Left open by the former run."""
    waiting: int
    """Entries that wait again."""


class Rescheduled(LedgerRecord):
    """From now on another scheduler judges: the verdicts so far are void."""

    kind = EventKind.RESCHEDULED
    scheduler: dict[str, Any] | None
    """As in the sweep file."""


class KnownRungs(LedgerRecord):
    """Rung values that another sweep's attempts have measured, and that this sweep's races are judged by."""

    kind = EventKind.KNOWN_RUNGS
    metric: str
    values: tuple[tuple[str, int, float], ...]
    """Trial, image count and value."""


class Waits(LedgerRecord):
    """A lane was given a trial and could not begin it yet."""

    kind = EventKind.WAITS
    why: str


class Begun(LedgerRecord):
    """An attempt was opened."""

    kind = EventKind.BEGUN
    lane: str
    host: str
    pid: int
    target_images: int
    images: int
    """That it goes on from."""


class Failed(LedgerRecord):
    """An attempt was ended that did not end itself."""

    kind = EventKind.FAILED
    cause: Cause
    detail: str
    leaves: EntryState | None = None
    """The state of its entries then; None in a record of schema 1."""
    then: str = ""
    """Why they stand so; empty where that goes without saying."""


class Judged(LedgerRecord):
    """An arm's verdict at a gate."""

    kind = EventKind.JUDGED
    race: str
    racer: str
    gate: int
    go_on: bool
    reason: str


class AllProposed(LedgerRecord):
    """A stage's search has proposed all that it will."""

    kind = EventKind.SEARCHED
    stage: str | int
    """What it is known by; in a record of schema 5, its place."""


class BudgetEnded(LedgerRecord):
    """The budget does not hold some entries: what is compared with them is judged without them."""

    kind = EventKind.BUDGET_ENDED
    keys: tuple[str, ...]
    why: str


class StopAsked(LedgerRecord):
    """Somebody who does not run the sweep asked its run to stop."""

    kind = EventKind.STOP_ASKED
    by: str


class Evaluated(LedgerRecord):
    """What a trial's weights score by an evaluation that no sweep has planned."""

    kind = EventKind.EVALUATED
    images: int
    """That the weights have seen."""
    evaluation_id: str
    evaluation: dict[str, Any]
    values: dict[str, float]
    without_each: dict[str, list[float]]
    """The values without each of equal groups of the images, by metric name."""
    heldout: dict[str, float]
    rows: dict[str, dict[str, float]]
    collapsed: bool
    seconds: float
    """That drawing and scoring took."""
    code_version: str
    tunes_sweep: bool = False
    """Whether the sweep's own file asks for it, which tunes its trials' sampling; else somebody did."""

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of the values by metric name, of drawing other images from the same weights."""
        return standard_errors(self.without_each)


TUNABLE = ("guidance", "interval", "weights", "steps", "t_eps_sample")
"""Keys of an evaluation that a trained network may choose, in the order in which people read them."""


class TunedView(BaseModel):
    """A trial's score at one setting, on noise that nothing was chosen by."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    evaluation: dict[str, Any]
    value: float | None
    """None where its images were no numbers."""
    error: float | None
    """Its standard error by its images."""


class Tuned(LedgerRecord):
    """A trial at the shared setting and at its own best one, chosen on few images and confirmed on many fresh ones."""

    kind = EventKind.TUNED
    images: int
    """That the weights have seen."""
    evaluation_id: str
    """Of the shared setting, as the sweep scores it."""
    metric: str
    tuning: dict[str, Any]
    tried: int
    """Settings that were judged."""
    shared: TunedView
    best: TunedView
    seconds: float
    """That all of it took, over every run of it."""

    @property
    def varied(self) -> list[str]:
        """The evaluation's keys that were searched over."""
        listed = {"t_eps_sample" if key == "clamp" else key for key, values in self.tuning.items() if values}
        return [key for key in TUNABLE if key in listed]


class MeasuredNoise(BaseModel):
    """Standard deviations of one metric's scores, on the scale on which it compares."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    retraining: float
    """Over seeds of training, of the weights' own mean."""
    resampling: float
    """Over seeds of sampling, of the same weights."""

    @property
    def ratio(self) -> float | None:
        """None where drawing again changes nothing."""
        return self.retraining / self.resampling if self.resampling else None

    @property
    def total(self) -> float:
        """Of a score that both have touched, as every trial's own."""
        return math.hypot(self.retraining, self.resampling)


class NoiseMeasured(LedgerRecord):
    """How far equal trials come out apart: by training them again, and by drawing other images from the same weights."""

    kind = EventKind.NOISE
    images: int
    """That the trials had seen."""
    seeds: int
    """Of training, the fewest of an arm."""
    draws: int
    """Of other images, of each weights."""
    arms: dict[str, dict[str, MeasuredNoise]]
    """By the arm in words, then by metric."""
    typical: dict[str, MeasuredNoise]
    """The median over the arms that have not collapsed, by metric."""
    correlation: dict[str, float | None]
    """Between arms over seeds, the mean over their pairs, by metric; None where no two share three seeds."""


class Finished(LedgerRecord):
    """A sweep's run has ended."""

    kind = EventKind.FINISHED
    state: SweepState
    reason: str = ""
    """Why it did not go to its end; empty where it did, or was interrupted."""


Content = Report | LedgerRecord
_RECORDS: Mapping[EventKind, type[LedgerRecord]] = {record.kind: record for record in LedgerRecord.__subclasses__()}


@dataclass(frozen=True)
class EventRow:
    """One event, as the ledger keeps it."""

    id: int
    """Rises with time within a sweep: pass the last one seen to `events_since`."""
    sweep: str
    at: float
    """Seconds since the epoch."""
    kind: EventKind
    trial_id: str | None
    attempt: int | None
    sequence: int | None
    """Of a report within its attempt."""
    data: Mapping[str, Any]
    """The content as JSON."""

    @cached_property
    def content(self) -> Content:
        """What it says: the trainer's report as it was sent, or the ledger's own record."""
        return content_of(self.kind, self.data)


def kind_of(content: Content) -> EventKind:
    return EventKind(content.kind)


def content_of(kind: EventKind, data: Mapping[str, Any]) -> Content:
    """Reads an event's `data`. ValidationError: it is not of its kind."""
    record = _RECORDS.get(kind)
    return _REPORT.validate_python(data) if record is None else record.model_validate(data)
