"""A sweep's run without Ray or torch: the real plan, ledger, schedule and sampler, and trials whose scores are drawn from their
ids. One trial at a time; a run can be cut short as a killed command would be."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.executor.opening import take_up
from jit_sweep.executor.schedule import Align, LookAgain, Now, Over, Propose, Searched, Start, next_step
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.plan.search import proposals
from jit_sweep.results.choices import no_choice
from jit_sweep.results.further import further, growing
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.schedulers.decide import Decider
from jit_sweep.search.proposer import Proposer
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import ALICE
from trainables.evaluation.metrics.registry import RUNG_METRICS, verdict_metrics
from trainables.report import Committed, Ended, Rung, Scored


@dataclass
class PlayedHome:
    """A ledger in a folder, in which sweep files are run one after the other."""

    folder: Path
    name: str = "tiny"
    trained: list[tuple[str, int]] = field(default_factory=list)
    """Trials and the rungs that they have been trained to, in order."""
    score: "Callable[[EntryRow, str], float]" = field(default=lambda row, metric: drawn(row.trial_id, metric, row.images))
    """A trial's score in a metric."""
    collapsed: "Callable[[EntryRow], bool]" = field(default=lambda row: False)
    """Whether a trial's score is an accident."""

    def __post_init__(self) -> None:
        self.engine = open_engine(f"sqlite:///{self.folder}/ledger.db")
        self.reader = LedgerReader(self.engine)

    def run(self, file: Mapping[str, Any], *, most: int | None = None, cut: bool = False) -> SweepState:
        """Run a file, and say how it stands then.

        Args:
            most: trials after which the run ends, as if it were interrupted; None: none.
            cut: kill the last of them half way, with its checkpoint committed and its attempt open.
        """
        return self.run_plan(planned_file(file), most=most, cut=cut)

    def run_plan(self, planned: Plan, *, most: int | None = None, cut: bool = False) -> SweepState:
        """Run a plan, as `run` does a file."""
        with self.writing(planned) as writer:
            run = _Run(planned, self.reader, writer, self.trained, self.score, self.collapsed)
            run.start()
            return run.to_end(most=most, cut=cut)

    @contextmanager
    def writing(self, planned: Plan) -> Iterator[LedgerWriter]:
        """The ledger's writer for a sweep, while its lease is held."""
        lease = acquire(self.engine, planned.spec.name, ALICE)
        try:
            yield LedgerWriter(self.engine, lease, decider=Decider(planned.spec.scheduler))
        finally:
            lease.release()

    def rows(self, *, every: bool = False) -> list[EntryRow]:
        return self.reader.entries(self.name, every=every)


def planned_file(file: Mapping[str, Any]) -> Plan:
    """The plan of a sweep file. UserError: it is unsound."""
    try:
        return plan(SweepSpec.model_validate(file), source="a test")
    except ValidationError as error:
        raise UserError(str(error)) from None


@dataclass
class _Run:
    plan: Plan
    reader: LedgerReader
    writer: LedgerWriter
    trained: list[tuple[str, int]]
    score: Callable[[EntryRow, str], float]
    collapsed: Callable[[EntryRow], bool]

    def __post_init__(self) -> None:
        self.name, self.proposer = self.plan.spec.name, Proposer(self.plan, self.reader)
        self.wanted = proposals(self.plan)
        self.aligned: set[int] = set()
        self.searched: set[int] = set()
        self.growing = growing(self.plan)

    def start(self) -> None:
        """What a run writes before its first trial."""
        take_up(self.plan, self.writer, self.reader)

    def to_end(self, *, most: int | None, cut: bool) -> SweepState:
        begun = 0
        while True:
            match self.next():
                case Align(stage):
                    if found := self.proposer.align(self.reader.entries(self.name), stage):
                        self.writer.add_entries(self.name, found.planned, retired=found.retired)
                    self.aligned.add(stage)
                case Propose(stage):
                    if entries := self.proposer.propose(self.reader.entries(self.name), stage):
                        self.writer.add_entries(self.name, entries)
                    else:
                        self.wanted[stage] = 0
                case Searched(stage):
                    self.writer.searched(self.name, self.proposer.stage_id(stage))
                    self.searched.add(stage)
                case LookAgain(stage):
                    if entries := further(self.plan, self.reader, stage=stage):
                        self.writer.add_entries(self.name, entries)
                    else:
                        self.growing.discard(stage)
                case Start(row=row):
                    if begun == most:
                        return SweepState.INTERRUPTED
                    begun += 1
                    self.train(row, cut=cut and begun == most)
                case Over():
                    return self.ended()
                case _:
                    return SweepState.INCOMPLETE

    def next(self) -> Any:
        now = Now(at=0.0, aligned=self.aligned, searched=self.searched, growing=self.growing)
        rows = self.reader.entries(self.name)
        return next_step(rows, stages=len(self.plan.spec.stages), proposals=self.wanted, now=now)

    def ended(self) -> SweepState:
        whole = all(row.state in (EntryState.DONE, EntryState.PRUNED) for row in self.reader.entries(self.name))
        rows, scores = self.reader.entries(self.name), self.reader.scores(self.name)
        whole &= not no_choice(self.plan, rows, scores, marks=marks_of(self.reader.heldout(self.name)))
        return SweepState.DONE if whole else SweepState.INCOMPLETE

    def train(self, row: EntryRow, *, cut: bool) -> None:
        """One attempt, by the rungs of all that it serves; `cut`: it says nothing more after its first rung."""
        attempt = self.writer.begin(self.name, row.trial_id, row.images, lane="lane", host="node", pid=1)
        if attempt is None:
            return
        served = [other for other in self.reader.entries(self.name) if other.serves(attempt)]
        sequence = 0
        for images in sorted({rung for other in served for rung in other.rungs if rung > attempt.images}):
            metric = self.plan.spec.rung_metric if row.trial.draws else RUNG_METRICS[row.trial.error_kind]
            rung = Rung(images=images, values={metric: drawn(row.trial_id, metric, images)})
            answer = self.writer.report(row.trial_id, attempt.number, sequence + 1, rung)
            self.writer.report(row.trial_id, attempt.number, sequence + 2, Committed(images=images, uri="memory://c"))
            self.trained.append((row.trial_id, images))
            sequence += 2
            if cut:
                return
            if answer.verdict != "go_on":
                outcome: Any = "paused" if answer.verdict == "pause" else "stopped"
                self.writer.report(row.trial_id, attempt.number, sequence + 1, _ended(images, outcome))
                return
        for number, other in enumerate({other.evaluation_id: other for other in served}.values()):
            self.writer.report(row.trial_id, attempt.number, sequence + 1 + number, self.scored(other))
        self.writer.report(row.trial_id, attempt.number, sequence + 100, _ended(row.images, "done"))

    def scored(self, row: EntryRow) -> Scored:
        own = RUNG_METRICS[row.trial.error_kind]
        metrics = dict.fromkeys((*verdict_metrics(), own)) if row.trial.draws else [own]
        values, collapsed = {metric: self.score(row, metric) for metric in metrics}, self.collapsed(row)
        return Scored(
            images=row.images, evaluation=row.evaluation_id, n=8, values=values, grid="memory://grid", collapsed=collapsed
        )


def drawn(trial_id: str, metric: str, images: int) -> float:
    """A value that depends on nothing else."""
    digest = hashlib.sha256(f"{trial_id} {metric} {images}".encode()).digest()
    return 1.0 + int.from_bytes(digest[:4], "big") / 2**32


def _ended(images: int, outcome: Any) -> Ended:
    cause = "" if outcome == "done" else f"it {outcome}"
    return Ended(images=images, outcome=outcome, cause=cause, train_s=1.0, evaluation_s=0.5, checkpoint_s=0.25)
