"""A ledger with one sweep in it: planned entries, a clock set by hand, and trials begun, reported and ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, select

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventRow
from jit_sweep.ledger.lease import Lease, acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, EntryRow, Owner
from jit_sweep.ledger.schema import metadata
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import NEVER_STOP, Decider
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import ModelConfig
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.report import Ended, Report, Scored, TrialOutcome

OBJECTIVE = "fd_efflite0_96"
IMAGES = 960
FACTS = {
    "baseline": {"model": {"width": 32, "depth": 2}, "batch_size": 48},
    "data": {"digest": "d" * 12, "flip": True},
    "objective": OBJECTIVE,
    "evaluation": {"n": 64, "steps": 10, "labels": "proportional"},
}
ALICE = Owner(host="elsewhere", pid=7, user="alice", started_at=1000.0)
BOB = Owner(host="nowhere", pid=8, user="bob", started_at=1001.0)


@dataclass
class HandClock:
    """Time that passes only when a test says so."""

    now: float = 1000.0

    def __call__(self, _connection: object = None) -> float:
        """The time of the machine, and of a ledger's database."""
        return self.now


def trial(*, seed: int = 0, digest: str = "d" * 12, **axes: Any) -> TrialConfig:
    prediction = {"prediction": axes["prediction"]} if "prediction" in axes else {}
    rate = {"learning_rate": axes["learning_rate"]} if "learning_rate" in axes else {}
    return TrialConfig(
        data=DataConfig(digest=digest, image_size=32, num_classes=4),
        model=ModelConfig(patch_size=axes.get("patch_size", 16), width=32, depth=axes.get("depth", 2), heads=2, class_tokens=0),
        diffusion=DiffusionConfig(**prediction),
        optimiser=OptimiserConfig(**rate),
        batch_size=48,
        seed=seed,
    )


def planned(
    *,
    arm: Mapping[str, Any] | None = None,
    seed: int = 0,
    stage: int = 0,
    position: int = 0,
    images: int = IMAGES,
    n: int = 64,
    origin: Literal["grid", "search"] = "grid",
    gates: tuple[int, ...] = (),
    race: str = "",
    protected: bool = False,
) -> Entry:
    """A planned entry; its rungs are its gates and its end, or half its budget and its end where it has no gates."""
    return Entry(
        stage=stage,
        stage_id=str(stage),
        position=position,
        arm=dict(arm or {}),
        seed=seed,
        trial=trial(seed=seed, **(arm or {})),
        images=images,
        evaluation=EvaluationConfig(n=n, steps=10),
        rungs=(*(gates or (images // 2,)), images),
        origin=origin,
        gates=gates,
        race=race,
        protected=protected,
    )


def scored(
    entry: Entry,
    values: Mapping[str, float],
    *,
    heldout: Mapping[str, float] | None = None,
    collapsed: bool = False,
    **more: Any,
) -> Scored:
    return Scored(
        images=entry.images,
        evaluation=entry.evaluation.id,
        n=entry.evaluation.n,
        values=dict(values),
        heldout=dict(heldout or {}),
        grid="file:///grid.png",
        collapsed=collapsed,
        **more,
    )


def ended(
    entry: Entry, outcome: TrialOutcome = "done", *, images: int | None = None, first_bad_step: int | None = None
) -> Ended:
    return Ended(
        images=entry.images if images is None else images,
        outcome=outcome,
        cause="" if outcome == "done" else f"it {outcome}",
        first_bad_step=first_bad_step,
        train_s=10.0,
        evaluation_s=2.0,
        checkpoint_s=1.0,
    )


def contents(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All that a ledger holds."""
    with engine.connect() as connection:
        rows = {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}
    return {name: sorted(map(tuple, found), key=repr) for name, found in rows.items()}


@dataclass
class LedgerFixture:
    """One sweep in a ledger."""

    engine: Engine
    name: str = "mine"
    owner: Owner = ALICE
    clock: HandClock = field(default_factory=HandClock)
    decider: Decider = NEVER_STOP
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The sweep's file, where a test reads it."""
    facts: Mapping[str, Any] = field(default_factory=lambda: FACTS)

    def __post_init__(self) -> None:
        self.lease: Lease = acquire(self.engine, self.name, self.owner, clock=self.clock)
        self.reader = LedgerReader(self.engine, clock=self.clock)
        self.lanes = count()
        self.judged_by(self.decider)

    def judged_by(self, decider: Decider) -> None:
        """Register the sweep, or take it up again, with this scheduler."""
        self.decider = decider
        self.writer = LedgerWriter(self.engine, self.lease, decider=decider, clock=self.clock)
        spec = {**self.spec, "name": self.name, "scheduler": decider.scheduler.model_dump(mode="json")}
        self.writer.register(self.name, fingerprint="f1", identity=self.facts, spec=spec)

    def plan(self, *entries: Entry) -> None:
        self.writer.add_entries(self.name, entries)

    def begin(self, entry: Entry, *, lane: str = "") -> AttemptRow:
        """In a lane; in one that has begun nothing yet where none is named."""
        lane = lane or f"lane-{next(self.lanes)}"
        opened = self.writer.begin(self.name, entry.trial_id, entry.images, lane=lane, host="node", pid=11)
        assert opened is not None
        return opened

    def tell(self, attempt: AttemptRow, *reports: Report, first: int = 0) -> None:
        for sequence, report in enumerate(reports, start=first):
            self.writer.report(attempt.trial_id, attempt.number, sequence, report)

    def train(self, entry: Entry, values: Mapping[str, float], *, collapsed: bool = False) -> AttemptRow:
        """Plan a trial and see it through to its score."""
        self.plan(entry)
        attempt = self.begin(entry)
        self.tell(attempt, scored(entry, values, collapsed=collapsed), ended(entry))
        return attempt

    def diverge(self, entry: Entry, *, images: int) -> None:
        """Plan a trial and see it diverge."""
        self.plan(entry)
        self.tell(self.begin(entry), ended(entry, "diverged", images=images, first_bad_step=7))

    def row(self, entry: Entry) -> EntryRow:
        return next(row for row in self.reader.entries(self.name) if row.key == entry.key)

    def events(self) -> list[EventRow]:
        return self.reader.events_since(self.name, 0, limit=100_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerFixture]:
    """On sqlite, in a folder of the test's own."""
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    yield LedgerFixture(engine)
    engine.dispose()
