"""A race judged once more, from the ledger's event log alone: the same events must give the same verdicts in the same order.

The event log says what is planned, how trials stand and what they have measured; nothing else is read. Judging is the ledger's
own (`races.races` and `Decider`), which is pure.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.races import Member, races
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState
from jit_sweep.schedulers.decide import Decider
from jit_sweep.schedulers.race import Standing, Verdict
from jit_sweep.spec.schedulers import Early, NoScheduler, SchedulerSpec
from jit_sweep.spec.stored import as_it_stopped
from trainables.report import Rung

PAGE = 1000
_MORE_FOLLOWS = frozenset({EventKind.CACHE_HIT, EventKind.DIVERGED, EventKind.KNOWN_RUNGS, EventKind.REOPENED})
"""Kinds that may belong to the same change as the event before them, so that nothing is judged in between."""
_NOTHING_FOLLOWS = frozenset(
    {
        EventKind.JUDGED,
        EventKind.WAITS,
        EventKind.PHASE,
        EventKind.SET_BACK,
        EventKind.PROGRESS,
        EventKind.ACTIVITY,
        EventKind.COMMITTED,
        EventKind.SCORED,
        EventKind.EVALUATED,
        EventKind.TUNED,
        EventKind.NOISE,
        EventKind.STOP_ASKED,
        EventKind.FINISHED,
    }
)
"""Kinds after which nothing is due that was not due before."""


class RaceVerdict(NamedTuple):
    """A verdict in its race."""

    race: str
    verdict: Verdict


class Name(NamedTuple):
    """What an entry's key says."""

    stage: str
    trial_id: str
    evaluation_id: str
    images: int

    @classmethod
    def of(cls, key: str) -> "Name":
        stage, trial_id, evaluation_id, images = key.split(":")
        return cls(stage, trial_id, evaluation_id, int(images))


def every_event(reader: LedgerReader, sweep: str) -> list[EventRow]:
    """The whole event log, in order."""
    found: list[EventRow] = []
    while page := reader.events_since(sweep, found[-1].id if found else 0, limit=PAGE):
        found += page
    return found


def judged(events: Sequence[EventRow], *, since: int = 0) -> list[RaceVerdict]:
    """The verdicts as they were recorded, in order. `since`: how many events to pass over."""
    told = (event.data for event in events[since:] if event.kind is EventKind.JUDGED)
    return [RaceVerdict(data["race"], Verdict(**{name: data[name] for name in Verdict._fields})) for data in told]


def replayed(events: Sequence[EventRow], scheduler: Early | NoScheduler, *, since: int = 0) -> list[RaceVerdict]:
    """The verdicts that follow from all the other events.

    Args:
        scheduler: the one that the sweep began with; any other does where `since` passes its verdicts over.
        since: after how many events the verdicts are told.
    """
    event_log = _EventLog(Decider(scheduler))
    for place, (event, following) in enumerate(zip(events, [*events[1:], None], strict=True)):
        event_log.read(event)
        if event.kind not in _NOTHING_FOLLOWS and not _is_one_change(event, following):
            event_log.judge()
        if place < since:
            event_log.verdicts.clear()
    return event_log.verdicts


def _is_one_change(event: EventRow, following: EventRow | None) -> bool:
    return following is not None and following.kind in _MORE_FOLLOWS and following.at == event.at


@dataclass
class _EventLog:
    """How a sweep stands after the events read so far."""

    decider: Decider
    verdicts: list[RaceVerdict] = field(default_factory=list)
    planned: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    standing: dict[str, Standing] = field(default_factory=dict)
    diverged: set[str] = field(default_factory=set)
    running: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Keys that a trial's open attempt serves."""
    values: dict[tuple[str, str, int], float] = field(default_factory=dict)
    """By metric, trial and image count."""
    scores: set[tuple[str, int, str]] = field(default_factory=set)
    searched: set[str] = field(default_factory=set)
    known: defaultdict[tuple[str, str], dict[int, Verdict]] = field(default_factory=lambda: defaultdict(dict))

    def judge(self) -> None:
        metric = self.decider.metric
        if metric is None:
            return
        values = {(trial, images): value for (name, trial, images), value in self.values.items() if name == metric}
        for label, race in races(self.members(), values, self.known).items():
            for verdict in self.decider.verdicts(race):
                self.known[label, verdict.racer][verdict.gate] = verdict
                self.verdicts.append(RaceVerdict(label, verdict))

    def members(self) -> list[Member]:
        keys = [key for key in self.shown if self.planned[key]["race"]]
        return [
            self.member(key)
            for key in sorted(keys, key=lambda key: (self.planned[key]["stage"], self.planned[key]["position"], key))
        ]

    def member(self, key: str) -> Member:
        facts, name = self.planned[key], Name.of(key)
        return Member(
            race=facts["race"],
            racer=facts["racer"],
            seed=facts["seed"],
            position=facts["position"],
            trial_id=name.trial_id,
            gates=tuple(facts["gates"]),
            protected=facts["protected"],
            standing=self.standing[key],
            more_to_come=facts["origin"] == "search" and name.stage not in self.searched,
        )

    def read(self, event: EventRow) -> None:
        data, trial = event.data, event.trial_id or ""
        match event.kind:
            case EventKind.REGISTERED:
                self.searched.clear()
            case EventKind.RESCHEDULED:
                self.reschedule(data["scheduler"])
            case EventKind.ENTRIES_ADDED:
                self.plan(data["planned"], hidden=data["hidden"])
            case EventKind.CACHE_HIT:
                self.standing[data["key"]] = "ended"
            case EventKind.DIVERGED:
                self.lose(data["keys"], diverged=True)
            case EventKind.KNOWN_RUNGS:
                self.values |= {(data["metric"], trial, images): value for trial, images, value in data["values"]}
            case EventKind.BEGUN:
                self.begin(trial, data["target_images"])
            case EventKind.RUNG:
                for metric, value in Rung.model_validate(data).by_name.items():
                    self.values.setdefault((metric, trial, data["images"]), value)
            case EventKind.SCORED:
                self.scores.add((trial, data["images"], data["evaluation"]))
            case EventKind.ENDED:
                lost = data["outcome"] in ("diverged", "done")  # done without its score is no success
                self.close(trial, lost=lost, diverged=data["outcome"] == "diverged")
            case EventKind.FAILED:
                leaves = EntryState(data["leaves"])
                lost = leaves in (EntryState.FAILED, EntryState.DIVERGED)
                self.close(trial, lost=lost, diverged=leaves is EntryState.DIVERGED)
            case EventKind.REOPENED:
                self.reopen()
            case EventKind.BUDGET_ENDED:
                self.standing |= dict.fromkeys(data["keys"], "lost")
            case EventKind.SEARCHED:
                self.searched.add(data["stage"])

    def reschedule(self, scheduler: Mapping[str, Any]) -> None:
        read: Early | NoScheduler = TypeAdapter(SchedulerSpec).validate_python(as_it_stopped(scheduler))
        self.decider = Decider(read)
        self.known.clear()
        self.planned = {key: {**facts, "race": "", "gates": []} for key, facts in self.planned.items()}

    def plan(self, planned: Sequence[Mapping[str, Any]], *, hidden: Sequence[str]) -> None:
        for facts in planned:
            self.planned[facts["key"]] = facts
            self.shown.add(facts["key"])
            self.standing.setdefault(facts["key"], "coming")
        self.shown -= set(hidden)

    def begin(self, trial: str, images: int) -> None:
        wanted = {key for key in self.shown if Name.of(key).trial_id == trial and Name.of(key).images == images}
        self.running[trial] = {key for key in wanted if self.is_open(key)}
        self.standing |= dict.fromkeys(self.running[trial], "coming")

    def is_open(self, key: str) -> bool:
        facts = self.planned[key]
        stopped = any(not verdict.go_on for verdict in self.known[facts["race"], facts["racer"]].values())
        return self.standing[key] != "ended" and key not in self.diverged and not stopped

    def close(self, trial: str, *, lost: bool, diverged: bool) -> None:
        served = self.running.pop(trial, set())
        scored = {key for key in self.planned if Name.of(key).trial_id == trial and self.is_scored(key)}
        self.standing |= dict.fromkeys(scored, "ended")
        if lost:
            self.lose(served - scored, diverged=diverged)

    def is_scored(self, key: str) -> bool:
        name = Name.of(key)
        return (name.trial_id, name.images, name.evaluation_id) in self.scores

    def lose(self, keys: set[str] | Sequence[str], *, diverged: bool) -> None:
        self.standing |= dict.fromkeys(keys, "lost")
        if diverged:
            self.diverged |= set(keys)

    def reopen(self) -> None:
        """Open attempts are lost with their driver, and what failed is tried again."""
        for trial in list(self.running):
            self.close(trial, lost=False, diverged=False)
        failed = [key for key, standing in self.standing.items() if standing == "lost" and key not in self.diverged]
        self.standing |= dict.fromkeys(failed, "coming")
