"""An attempt that was given up for dead and goes on writing changes nothing: a real process, frozen and thawed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import Cause
from jit_sweep.plan.entry import Entry
from tests.support.ledger import LedgerFixture, contents
from tests.support.trials import small_trial
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import DataConfig
from trainables.data import describe
from trainables.storage.checkpoint import Store
from trainables.train import train

IMAGES = 64
ZOMBIE = """
import sys
import torch
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import Lease
from jit_sweep.ledger.records import Owner
from jit_sweep.ledger.writer import LedgerWriter, StaleAttempt
from trainables.assignment import Assignment
from trainables.report import Committed
from trainables.train import train

uri, epoch, assignment = sys.argv[1], int(sys.argv[2]), Assignment.model_validate_json(sys.argv[3])
torch.set_num_threads(1)
owner = Owner(host="elsewhere", pid=7, user="alice", started_at=1000.0)
lease = Lease(engine=open_engine(uri), sweep="mine", epoch=epoch, owner=owner)
writer = LedgerWriter(lease.engine, lease)
fenced = 0
for sequence, report in enumerate(train(assignment, attempt=1), start=1):
    try:
        writer.report(assignment.trial.id, 1, sequence, report)
    except StaleAttempt:
        fenced += 1  # and goes on nevertheless
    if isinstance(report, Committed):
        print("committed", report.images, flush=True)
        sys.stdin.readline()
print("fenced", fenced, flush=True)
"""
"""A worker that never learns that it was replaced."""


def entry() -> Entry:
    digest = describe("emoji32", holdout=None).digest
    data = DataConfig(digest=digest, image_size=32, num_classes=9)
    trial = small_trial(data=data, batch_size=8)
    rungs = (IMAGES,)
    evaluation = EvaluationConfig(n=8, sampler="euler", steps=2)
    return Entry(
        stage=0,
        stage_id="0",
        position=0,
        arm={},
        seed=0,
        trial=trial,
        images=IMAGES,
        evaluation=evaluation,
        rungs=rungs,
        origin="grid",
    )


def assigned(planned: Entry, storage: Path) -> Assignment:
    # A checkpoint at every chance: the zombie is to be caught between two.
    return Assignment(trial=planned.trial, images=IMAGES, evaluations=(), storage=str(storage), checkpoint_interval_s=1e-6)


def test_a_process_frozen_past_its_replacement_changes_neither_ledger_nor_weights_when_it_wakes(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    uri, planned = f"sqlite:///{tmp_path}/ledger.db", entry()
    ledger = LedgerFixture(open_engine(uri))
    ledger.plan(planned)
    ledger.writer.begin("mine", planned.trial_id, IMAGES, lane="lane-0", host="node", pid=11)
    work = assigned(planned, tmp_path / "store")
    command = [sys.executable, "-c", ZOMBIE, uri, str(ledger.lease.epoch), work.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zombie:
        assert zombie.stdin is not None
        assert zombie.stdout is not None
        assert zombie.stdout.readline().split() == ["committed", "8"]
        os.kill(zombie.pid, signal.SIGSTOP)

        ledger.writer.fail(planned.trial_id, 1, cause=Cause.WORKER_LOST, detail="no sign of life for 45 s")
        second = ledger.writer.begin("mine", planned.trial_id, IMAGES, lane="lane-1", host="node", pid=12)
        assert second is not None
        assert second.images == 8
        for sequence, report in enumerate(train(work.model_copy(update={"checkpoint_interval_s": 1e6}), attempt=2), start=1):
            ledger.writer.report(planned.trial_id, 2, sequence, report)
        store = Store(work.storage)
        commit = store.latest(planned.trial_id, most_images=IMAGES)
        assert commit is not None
        assert (commit.attempt, commit.images) == (2, IMAGES)
        rows, weights = contents(ledger.engine), store.read(commit).tensors

        os.kill(zombie.pid, signal.SIGCONT)
        said = zombie.communicate("\n" * 100)[0].split()
    assert said[-2] == "fenced"
    assert int(said[-1]) > 4, "it went on and was refused each time"
    assert said.count("committed") > 4, "it went on writing checkpoints"
    assert contents(ledger.engine) == rows
    after = store.latest(planned.trial_id, most_images=IMAGES)
    assert after == commit
    for part, tensors in store.read(commit).tensors.items():
        assert all(torch.equal(tensor, weights[part][name]) for name, tensor in tensors.items())
