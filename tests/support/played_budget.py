"""A sweep with a budget, played without Ray: the real ledger, schedule, scheduler and guard, on lanes that train in no time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.schedule import Now, OutOfBudget, Over, Propose, Searched, Start, next_step, target_of
from jit_sweep.ledger.records import AttemptRow, EntryRow, EntryState
from jit_sweep.plan.entry import Entry
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, scored
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.report import ASKED_TO_STOP, Committed, Ended, Rung

IMAGES_PER_SECOND = 100.0


@dataclass
class Lane:
    """A trial in a lane."""

    row: EntryRow
    attempt: AttemptRow
    images: int
    sequence: int = 0


@dataclass
class PlayedBudget:
    """A sweep file that is run, and run again."""

    ledger: LedgerFixture
    spec: SweepSpec
    grid: Sequence[Entry]
    luck: random.Random
    searched: Sequence[Entry] = ()
    """What stage 1 proposes, one after the other."""
    lanes: int = 1
    flying: list[Lane] = field(default_factory=list)

    def run(self) -> None:
        """The command, once, to its end."""
        writer, name = self.ledger.writer, self.ledger.name
        self.ledger.judged_by(self.ledger.decider)
        writer.reopen(name)
        writer.plan_entries(name, self.grid)
        self.guard = BudgetGuard(self.spec, self.ledger.reader, clock=self.ledger.clock)
        self.proposals = {1: len(self.searched)} if self.searched else {}
        self.told: set[int] = set()
        while self.step():
            if self.guard.is_over():
                self.stop_all()
                return

    def step(self) -> bool:
        """One thing more happens; False at the end."""
        if len(self.flying) < self.lanes:
            match self.next():
                case Start(_, row):
                    self.begin(row)
                    return True
                case OutOfBudget(_, keys, why):
                    assert not self.flying, "what runs may still free some of the budget"
                    self.ledger.writer.end_budget(self.ledger.name, keys, why=why)
                    return True
                case Propose():
                    known = {row.key for row in self.ledger.reader.entries(self.ledger.name)}
                    self.ledger.plan(next(entry for entry in self.searched if entry.key not in known))
                    return True
                case Searched(stage):
                    self.ledger.writer.searched(self.ledger.name, str(stage))
                    self.told.add(stage)
                    return True
                case Over():
                    return False
        assert self.flying, "a sweep must not wait for nothing"
        self.advance(self.luck.choice(self.flying))
        return True

    def next(self) -> object:
        rows = self.ledger.reader.entries(self.ledger.name)
        handed_out = [lane.row for lane in self.flying]
        in_flight = {target_of(row) for row in handed_out}
        refusal = self.guard.refusals(rows, handed_out=handed_out)
        now = Now(at=self.ledger.clock(), in_flight=in_flight, aligned={0, 1}, searched=self.told, refusal=refusal)
        return next_step(rows, stages=2, proposals=self.proposals, now=now)

    def begin(self, row: EntryRow) -> None:
        name = self.ledger.name
        attempt = self.ledger.writer.begin(name, row.trial_id, row.images, lane=row.trial_id, host="node", pid=1)
        if attempt is not None:
            self.flying.append(Lane(row, attempt, attempt.images))

    def advance(self, lane: Lane) -> None:
        """A lane's trial comes to its next rung or its end; the others train beside it."""
        rung = next(rung for rung in lane.row.rungs if rung > lane.images)
        self.ledger.clock.now += (rung - lane.images) / IMAGES_PER_SECOND / len(self.flying)
        lane.images = rung
        report = Rung(images=rung, values={RUNG_METRIC: random.Random(f"{lane.row.trial_id} {rung}").random()})
        dear = self.guard.refusal_at_gate(lane.row, rung, rows=self.rows()) if rung in lane.row.gates else ""
        lane.sequence += 1
        trial, number = lane.attempt.trial_id, lane.attempt.number
        decision = self.ledger.writer.report(trial, number, lane.sequence, report, too_dear=dear)
        if rung == lane.row.images:
            self.end(lane, "done")
        elif decision.verdict != "go_on":
            self.end(lane, "paused" if decision.verdict == "pause" else "stopped")

    def end(self, lane: Lane, outcome: str, *, cause: str = "") -> None:
        entry = next(entry for entry in (*self.grid, *self.searched) if entry.key == lane.row.key)
        reports = [Committed(images=lane.images, uri=f"file:///c/{lane.images}")]
        how = ended(entry, outcome, images=lane.images)  # type: ignore[arg-type]
        last: list[Ended] = [how.model_copy(update={"cause": cause}) if cause else how]
        scores = [scored(entry, {OBJECTIVE: 1.0})] if outcome == "done" else []
        self.ledger.tell(lane.attempt, *reports, *scores, *last, first=lane.sequence + 1)
        self.flying.remove(lane)

    def stop_all(self) -> None:
        for lane in list(self.flying):
            self.end(lane, "paused", cause=ASKED_TO_STOP)

    def rows(self) -> list[EntryRow]:
        return self.ledger.reader.entries(self.ledger.name)

    def states(self) -> list[EntryState]:
        return [row.state for row in self.rows()]

    def images(self) -> int:
        """Trained on, over all attempts; nothing is trained on twice here."""
        attempts = self.ledger.reader.attempts(self.ledger.name)
        return sum({attempt.trial_id: attempt.images for attempt in attempts}.values())
