"""A run that starts no Ray, since its budget has ended or since nobody answers: what it says, and what state it leaves."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.executor.opening import take_up
from jit_sweep.executor.run import run_sweep
from jit_sweep.home import Home
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState, SweepState
from jit_sweep.ledger.refusals import OtherSweep
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import ALICE, OBJECTIVE, ended, scored
from tests.support.mlflow import MlflowStore
from tests.support.sweep_files import few_images, tiny_sweep
from trainables.report import Report

NOBODY = "127.0.0.1:1"
"""No Ray is there."""


def planned(folder: Path, **changes: Any) -> Plan:
    return plan(SweepSpec.model_validate(tiny_sweep(data=few_images(folder), **changes)), source="sweep.yaml")


def killed_after(done: int, planned: Plan, ledger: str) -> None:
    """A run that brought its first `done` trials to their scores, and was killed."""
    engine = open_engine(ledger)
    writer = LedgerWriter(engine, lease := acquire(engine, planned.spec.name, ALICE))
    take_up(planned, writer, LedgerReader(engine))
    for entry in planned.entries[:done]:
        attempt = writer.begin(planned.spec.name, entry.trial_id, entry.images, lane="lane-0", host="node", pid=11)
        assert attempt is not None
        reports: list[Report] = [scored(entry, {OBJECTIVE: 1.0}), ended(entry)]
        for sequence, report in enumerate(reports):
            writer.report(entry.trial_id, attempt.number, sequence, report)
    lease.release()
    engine.dispose()


def run(planned: Plan, home: Home) -> None:
    run_sweep(planned, home, address=NOBODY, watch=lambda reader, stopping: None)


def left_by(home: Home) -> tuple[SweepState, str]:
    """The state that a run has left, and why."""
    reader = LedgerReader(open_engine(home.ledger))
    return reader.sweep("tiny").state, reader.end_reason("tiny")


def test_nothing_is_started_where_the_budget_holds_nothing_more(tmp_path: Path, store: MlflowStore) -> None:
    home, said = Home(tmp_path), list[str]()
    spent = planned(tmp_path, budget={"images_per_trial": 16, "total_images": 16}, tracking=store.uri)
    killed_after(1, spent, home.ledger)
    result = run_sweep(spent, home, address=NOBODY, watch=lambda reader, stopping: None, tell=said.append)
    assert result.state is SweepState.INCOMPLETE
    assert result.reason == "`budget.total_images` is 16: 16 are spent and the next needs 16"
    assert result.undelivered == 0
    assert said[0] == "nothing is trained and no Ray started, since the budget holds nothing more"
    reader = LedgerReader(open_engine(home.ledger))
    assert [row.state for row in reader.entries("tiny")] == [EntryState.DONE, EntryState.OUT_OF_BUDGET]
    assert len(reader.attempts("tiny")) == 1


@pytest.mark.parametrize("done", [0, 2], ids=["trains", "only tunes sampling"])
def test_a_run_whose_ray_is_out_of_reach_has_failed_and_says_why_and_another_may_begin(tmp_path: Path, done: int) -> None:
    home = Home(tmp_path)
    tuned = planned(tmp_path, evaluation={"n": 8, "sampler": "euler", "steps": 2, "tune": {"steps": [2, 4], "n": 8}})
    killed_after(done, tuned, home.ledger)
    for _ in range(2):
        with pytest.raises(UserError, match="must be a running Ray cluster") as refused:
            run(tuned, home)
        assert left_by(home) == (SweepState.FAILED, str(refused.value))


def test_a_run_that_is_interrupted_before_ray_answers_says_so(tmp_path: Path) -> None:
    def interrupted(_said: str) -> None:
        raise KeyboardInterrupt

    home = Home(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(planned(tmp_path), home, address=NOBODY, watch=lambda reader, stopping: None, tell=interrupted)
    assert left_by(home) == (SweepState.INTERRUPTED, "")


def test_an_error_of_the_programs_own_is_told_as_one(tmp_path: Path) -> None:
    def broken(_said: str) -> None:
        raise RuntimeError("no such screen\nat all")

    home = Home(tmp_path)
    with pytest.raises(RuntimeError):
        run_sweep(planned(tmp_path), home, address=NOBODY, watch=lambda reader, stopping: None, tell=broken)
    assert left_by(home) == (SweepState.FAILED, "an error ended it: no such screen")


def test_a_file_that_is_refused_for_its_name_leaves_the_sweep_of_that_name_as_it_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    killed_after(1, planned(tmp_path), home.ledger)
    with pytest.raises(OtherSweep):
        run(planned(tmp_path, objective="heldout_v_error"), home)
    assert left_by(home) == (SweepState.RUNNING, ""), "as the killed run has left it"
