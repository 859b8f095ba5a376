"""Lanes that lose a part of themselves, on a cluster of one CPU: nothing goes on there before the dead have let go of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, SweepState
from tests.chaos.leftovers import left_behind
from tests.chaos.victims import titled
from tests.support.cli import DEADLINE_S, environment
from tests.support.ray_head import Head, running_head
from tests.support.sweep_files import few_images, write_sweep_of_few_images
from trainables.data import open_images
from trainables.evaluation.features.efficientnet import EFFICIENTNET_LITE0
from trainables.storage.checkpoint import Store

IMAGES, IMAGE_SIZE = 4800, 32
SILENT_S = 8.0
STALL_S = 15.0
RUN = """
import sys
from functools import partial
from pathlib import Path
from jit_sweep.cli.plan import planned
from jit_sweep.executor.before_ray import prepare_environment
from jit_sweep.home import home_at
prepare_environment(address=sys.argv[2])
from jit_sweep.executor import run
run.Driver = partial(run.Driver, silent_s=float(sys.argv[3]))
home = home_at(Path(".jit-sweep"))
found = planned(sys.argv[1], home)
run.run_sweep(found, home, address=sys.argv[2], watch=lambda *_: None)
"""
"""A run, which may miss its workers sooner than the command does."""
HOLD = """
import json, sys, ray
from ray.util import placement_group_table
ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote(num_cpus=0.5)
class Holder:
    def holds(self):
        return True

holder = Holder.remote()
ray.get(holder.holds.remote())
print("holds", flush=True)
for line in sys.stdin:
    print(json.dumps([group["state"] for group in placement_group_table().values()]), flush=True)
"""
"""Somebody else's job: it takes half of the CPU, and tells how the cluster's placement groups stand whenever it is asked."""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """One CPU: a lane, or none."""
    with running_head(cpus=1) as running:
        yield running


@dataclass
class Sweep:
    """One trial, run on the head by a command of its own."""

    head: Head
    folder: Path
    resources: dict[str, Any]

    def __post_init__(self) -> None:
        self.file = write_sweep_of_few_images(
            self.folder,
            stages=[{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}],
            budget={"images_per_trial": IMAGES, "rungs": 4},
            resources={"cpus": 1, "checkpoint_interval_s": 0.3, **self.resources},
        )

    @contextmanager
    def running(self, *, silent_s: float = 45.0) -> Iterator[subprocess.Popen[bytes]]:
        """The command, until the end of the block."""
        arguments = [sys.executable, "-c", RUN, self.file, self.head.address, str(silent_s)]
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                env=environment(self.folder, **self.head.client_env),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    @property
    def features(self) -> Path:
        """Where the real images' features are kept: scoring asks for them there first."""
        data = few_images(self.folder)
        digest = open_images(data["uri"], holdout=data["holdout"]).fingerprint
        return self.folder / ".jit-sweep" / "store" / "reference" / f"{digest}-{EFFICIENTNET_LITE0.variant(IMAGE_SIZE)}.npz"

    @property
    def reader(self) -> LedgerReader:
        return LedgerReader(open_engine(f"sqlite:///{self.folder}/.jit-sweep/ledger.db", create=False))

    def events(self, *kinds: EventKind) -> list[EventRow]:
        """What the ledger has of some kinds; nothing before there is one."""
        try:
            return [event for event in self.reader.events_since("tiny", 0, limit=100_000) if event.kind in kinds]
        except UserError:
            return []

    def attempts(self) -> list[AttemptRow]:
        return self.reader.attempts("tiny")

    def until_committed(self) -> None:
        """Until there is something to go on from."""
        self.until(lambda: bool(self.events(EventKind.COMMITTED)))

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not reached():
            assert time.monotonic() < deadline, (self.folder / "said.txt").read_text()
            time.sleep(0.05)

    def ends_well(self, process: subprocess.Popen[bytes]) -> None:
        assert process.wait(DEADLINE_S) == 0, (self.folder / "said.txt").read_text()
        assert self.reader.sweep("tiny").state is SweepState.DONE
        assert left_behind(self.head) == []


@pytest.fixture
def sweep(head: Head, tmp_path: Path) -> Callable[..., Sweep]:
    return lambda **resources: Sweep(head, tmp_path, resources)


@pytest.mark.long
def test_a_lane_that_waited_for_its_place_when_its_driver_was_killed_takes_none_from_the_next_run(
    sweep: Callable[..., Sweep],
) -> None:
    lane = sweep()
    with holding(lane.head) as group_states:
        with lane.running() as command:
            lane.until(lambda: "PENDING" in group_states())
            command.kill()
            command.wait()
        # Ray mostly registers the group again for the dead job, and sometimes removes it at once.
        lane.until(lambda: not titled(lane.head, "owner"))
    with lane.running() as command:
        lane.ends_well(command)
    assert [attempt.outcome for attempt in lane.attempts()] == ["done"]  # the one that waited had begun nothing


@contextmanager
def holding(head: Head) -> Iterator[Callable[[], list[str]]]:
    """Somebody else's job on the head; yields what asks it for the states of the placement groups."""
    job = subprocess.Popen(
        [sys.executable, "-c", HOLD, head.address],
        cwd=head.home,
        env=environment(head.home, **head.client_env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdin is not None
    assert job.stdout is not None

    def group_states() -> list[str]:
        print(file=job.stdin, flush=True)
        states: list[str] = json.loads(job.stdout.readline())  # type: ignore[union-attr]
        return states

    try:
        assert next(line for line in job.stdout if line == "holds\n")
        yield group_states
    finally:
        job.stdin.close()
        job.wait(DEADLINE_S)


@pytest.mark.long
def test_a_worker_that_freezes_is_ended_by_its_owner_and_replaced(sweep: Callable[..., Sweep]) -> None:
    lane = sweep()
    with lane.running(silent_s=SILENT_S) as command:
        lane.until_committed()
        [worker] = titled(lane.head, "worker")
        worker.suspend()
        lane.until(lambda: bool(lane.events(EventKind.FAILED)))
        lane.until(lambda: len(lane.attempts()) == 2)
        lane.ends_well(command)
        assert psutil.wait_procs([worker], timeout=DEADLINE_S)[1] == []
    first, second = lane.attempts()
    assert (str(first.cause), second.outcome) == ("worker_lost", "done")
    assert "no sign of life" in str(first.detail)
    [failed] = lane.events(EventKind.FAILED)
    late = [event for event in lane.events(*EventKind) if event.attempt == 1 and event.id > failed.id]
    assert late == []
    store = Store(str(lane.folder / ".jit-sweep" / "store"))
    commit = store.latest(first.trial_id, most_images=IMAGES)
    assert commit is not None
    assert (commit.images, commit.attempt) == (IMAGES, 2)


def test_a_worker_that_hangs_is_ended_with_its_stacks_kept_and_its_trial_is_tried_again(sweep: Callable[..., Sweep]) -> None:
    lane = sweep(stall_s=STALL_S)
    lane.features.parent.mkdir(parents=True)
    os.mkfifo(lane.features)  # whoever opens it waits for somebody to write, and beats go on meanwhile
    with lane.running() as command:
        lane.until(lambda: bool(lane.events(EventKind.FAILED)))
        lane.features.unlink()
        lane.ends_well(command)
    first, second = lane.attempts()
    assert (str(first.cause), second.outcome) == ("stalled", "done")
    assert f"more than `stall_s`, {STALL_S:g}" in str(first.detail)
    assert "MainThread" in str(first.detail)
    assert "evaluation/reference.py" in str(first.detail)
