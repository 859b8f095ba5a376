"""What the sweep comes to undisturbed: every trial trained in this process, from its seed and in one go.

Not a second sweep through Ray: the trainer and the decider are pure, and this takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.plan import plan
from jit_sweep.schedulers.decide import Decider
from jit_sweep.schedulers.race import Race, Racer, Seed
from jit_sweep.spec.read import read_spec
from trainables.assignment import Assignment
from trainables.report import Rung
from trainables.storage.checkpoint import Store
from trainables.train import train

THREADS = 1
"""As a lane of one CPU has."""


class BareVerdict(NamedTuple):
    """A verdict without its words."""

    racer: str
    gate: int
    go_on: bool


@dataclass(frozen=True)
class Reference:
    """Undisturbed trials, kept in a folder: each is trained once, however many sweeps are compared with it."""

    folder: Path
    plan: Plan
    trained: dict[tuple[str, int], dict[int, float]] = field(default_factory=dict)
    """By trial and image count: what its rungs measured."""

    @classmethod
    def of(cls, file: str, folder: Path) -> "Reference":
        return cls(folder, plan(read_spec(file), source=file))

    def weights(self, trial_id: str, images: int) -> Mapping[str, Mapping[str, Tensor]]:
        """The tensors of a trial at an image count, part by part."""
        entry = next(entry for entry in self.plan.entries if entry.trial_id == trial_id)
        self._measured(entry, images=images)
        store = Store(str(self.folder / str(images)))
        commit = store.latest(trial_id, most_images=images)
        assert commit is not None
        return store.read(commit).tensors

    @cached_property
    def verdicts(self) -> frozenset[BareVerdict]:
        """What a synchronous scheduler decides: every arm still in stands at a gate, and then all are judged."""
        decider, values = Decider(self.plan.spec.scheduler), self.values
        racers = [
            Racer(entry.racer, entry.position, entry.gates, entry.protected, (Seed(entry.seed, "coming", {}),))
            for entry in self.plan.entries
        ]
        race, verdicts = Race("", tuple(racers)), set[BareVerdict]()
        for gate in range(race.gate_count):
            arrived = tuple(_arrived(racer, gate, values[racer.name]) for racer in race.racers)
            race = Race("", arrived)
            due = decider.verdicts(race)
            race = race.judged(due)
            verdicts |= {BareVerdict(verdict.racer, verdict.gate, verdict.go_on) for verdict in due}
        return frozenset(verdicts)

    @cached_property
    def values(self) -> dict[str, dict[int, float]]:
        """By arm and image count: what rungs compare."""
        return {entry.racer: self._measured(entry, images=entry.images) for entry in self.plan.entries}

    def _measured(self, entry: Entry, *, images: int) -> dict[int, float]:
        if (entry.trial_id, images) not in self.trained:
            self.trained[entry.trial_id, images] = self._train(entry, images=images)
        return self.trained[entry.trial_id, images]

    def _train(self, entry: Entry, *, images: int) -> dict[int, float]:
        before = torch.get_num_threads()
        torch.set_num_threads(THREADS)
        rungs = tuple(rung for rung in entry.rungs if rung <= images)
        data = self.plan.spec.data
        assignment = Assignment(
            trial=entry.trial,
            images=images,
            evaluations=(),
            rungs=rungs,
            data=data.address,
            holdout=data.holdout,
            storage=str(self.folder / str(images)),
        )
        try:
            told = [report for report in train(assignment) if isinstance(report, Rung)]
        finally:
            torch.set_num_threads(before)
        return {rung.images: next(iter(rung.values.values())) for rung in told}


def _arrived(racer: Racer, gate: int, values: Mapping[int, float]) -> Racer:
    """The arm at a gate, where it is still in."""
    if racer.stopped:
        return racer
    seeds: Sequence[Seed] = [replace(seed, values={**seed.values, gate: values[racer.gates[gate]]}) for seed in racer.seeds]
    return replace(racer, seeds=tuple(seeds))
