"""Many trials through the real ledger, actor, searcher and Tune, on lanes whose owners play the worker.

`python -m tests.support.sham_lanes FOLDER TRIALS` runs them in a process of its own and prints what became of this process
as JSON: its memory is that of a driver, and nothing else is in it. What becomes of a trial is drawn from its id.
"""

import json
import os
import random
import resource
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from jit_sweep.executor.before_ray import prepare_environment
from jit_sweep.home import Locations
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import this_process
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep
from trainables.assignment import Assignment
from trainables.evaluation.metrics.registry import verdict_metrics
from trainables.lane.messages import AttemptKey, GoHome, Letter, WorkerAddress, WorkItem
from trainables.report import Committed, Ended, Phase, Progress, Report, Rung, Scored

prepare_environment(address=None)  # before Ray is imported

import ray  # noqa: E402

from jit_sweep.executor.cluster import local_cluster  # noqa: E402
from jit_sweep.executor.driver import Driver  # noqa: E402
from jit_sweep.executor.lane import Lane, LaneTrial  # noqa: E402

SEED = 20_260_726
NAME = "many"
ARMS = 20
BEAT_S = 0.5
SILENT_S = 15.0
FIRST_PART = 40
"""Trials after which memory is looked at for the first time: all that is loaded once is there by then."""
Fate = Literal["scored", "diverged", "raises", "exits", "stalls"]
SHARES: dict[Fate, float] = {"diverged": 0.05, "raises": 0.025, "exits": 0.025, "stalls": 0.02}


def fate_of(trial_id: str) -> Fate:
    """What happens to a trial's first attempt; the crashed and the stalled are scored in their second."""
    drawn = random.Random(f"{SEED}:{trial_id}").random()
    for fate, share in SHARES.items():
        if drawn < share:
            return fate
        drawn -= share
    return "scored"


class PlayedGroup(Lane):
    """A lane without a Train group: a thread of its owner speaks the worker's part."""

    def work(self) -> None:
        """Take trial after trial; returns when sent home."""
        self.hushed, over = threading.Event(), threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True).start()
        done: AttemptKey | None = None
        try:
            while not isinstance(work := ray.get(self.actor.take.remote(self.name, address=_address(), after=done)), GoHome):
                if isinstance(work, WorkItem):
                    done = work.key
                    self._act(work)
        finally:
            over.set()

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(BEAT_S):
            if not self.hushed.is_set():
                ray.get(self.actor.beat.remote(self.name, address=_address()))

    def _act(self, work: WorkItem) -> None:
        """One trial by its fate, reported to the ledger as a trainer would."""
        fate = fate_of(work.key.trial) if work.key.attempt == 1 else "scored"
        for sequence, report in enumerate(reports_of(work.assignment, fate), start=1):
            ray.get(self.actor.report.remote(self.name, letter=Letter(key=work.key, sequence=sequence, report=report)))
        if fate == "raises":
            raise RuntimeError("this lane's worker dies")
        if fate == "exits":
            os._exit(1)
        if fate == "stalls":
            self.hushed.set()
            threading.Event().wait()  # until its owner kills this process


class PlayedLane(LaneTrial):
    """Owns such a lane."""

    lane_class = PlayedGroup


def _address() -> WorkerAddress:
    return WorkerAddress(rank=0, host=socket.gethostname(), pid=os.getpid(), node="")


def reports_of(assignment: Assignment, fate: Fate) -> list[Report]:
    """What a trial says until its end, or until its worker is gone."""
    images, value = assignment.images, random.Random(assignment.trial.id).random()
    start = Phase(images=0, start="seed", device="none", workers=1, micro_batch=8, activation_checkpointing=False)
    half = Progress(images=images // 2, step=1, loss=value, images_per_second=1000.0)
    said: list[Report] = [start, half, Committed(images=images // 2, uri="memory://checkpoint")]
    spent: dict[str, Any] = {"train_s": 1.0, "evaluation_s": 0.5, "checkpoint_s": 0.25}
    if fate == "diverged":
        return [*said, Ended(images=images, outcome="diverged", cause="loss is NaN", first_bad_step=2, **spent)]
    if fate != "scored":
        return said
    scores = [
        Scored(
            images=images, evaluation=each.id, n=each.n, values=dict.fromkeys(verdict_metrics(), value), grid="memory://grid"
        )
        for each in assignment.evaluations
    ]
    rung = Rung(images=images, values={assignment.rung_metric: value})
    return [*said, rung, Committed(images=images, uri="memory://end"), *scores, Ended(images=images, outcome="done", **spent)]


def many(trials: int) -> Plan:
    """A grid of 20 arms on one shape, with as many seeds as it takes, on lanes of half a CPU."""
    axes = {"learning_rate": [1e-4 * (1 + arm) for arm in range(ARMS)]}
    stages = [{"grid": {"axes": axes, "seeds": trials // ARMS}}]
    given = tiny_sweep(name=NAME, stages=stages, resources={"workers": 1, "cpus": 0.5})
    return plan(SweepSpec.model_validate(given), source="a test")


class Scale:
    """Watches a run: how many of its trials have ended, and what memory its driver takes, in bytes."""

    def __init__(self, sweep: str) -> None:
        self.sweep, self.first, self.last = sweep, 0, 0
        self.ended = 0

    def __call__(self, reader: LedgerReader, stopping: bool) -> None:
        counts = reader.sweep(self.sweep).counts
        self.ended = sum(counts.get(state, 0) for state in (EntryState.DONE, EntryState.DIVERGED))
        self.last = memory_bytes()
        if not self.first and self.ended >= FIRST_PART:
            self.first = self.last


def memory_bytes() -> int:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(folder: Path, trials: int) -> dict[str, Any]:
    """All of it, in a ledger and on a cluster of its own."""
    found, name = many(trials), NAME
    locations = Locations(ledger=ledger_of(folder), tracking="", storage=str(folder / "store"))
    engine = open_engine(locations.ledger)
    lease = acquire(engine, name, this_process())
    writer = LedgerWriter(engine, lease)
    writer.register(name, fingerprint=found.fingerprint, identity=found.identity, spec=found.spec.model_dump(mode="json"))
    writer.plan_entries(name, found.entries)
    scale = Scale(name)
    with local_cluster():
        driver = Driver(
            found,
            locations,
            LedgerReader(engine),
            lease,
            lane=PlayedLane,
            silent_s=SILENT_S,
        )
        began = time.monotonic()
        ended = driver.to_end(scale)
    return {
        "state": str(ended.state),
        "reason": ended.reason,
        "seconds": time.monotonic() - began,
        "memory_bytes": scale.last,
        "growth_bytes": scale.last - scale.first,
    }


def ledger_of(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
