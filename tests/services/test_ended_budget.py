"""A second run of an unchanged file whose budget has ended starts no Ray, trains nothing and says so."""

from pathlib import Path

from jit_sweep.executor.opening import take_up
from jit_sweep.executor.run import run_sweep
from jit_sweep.home import Home
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import ALICE, OBJECTIVE, ended, scored
from tests.support.mlflow import MlflowStore
from tests.support.sweep_files import few_images, tiny_sweep
from trainables.report import Report

NOBODY = "127.0.0.1:1"
"""No Ray is there: a run that went to start its lanes would end in an error."""


def trained_once(planned: Plan, ledger: str) -> None:
    """A run that brought the first trial to its score, and was killed as the budget had ended."""
    engine = open_engine(ledger)
    writer = LedgerWriter(engine, lease := acquire(engine, planned.spec.name, ALICE))
    take_up(planned, writer, LedgerReader(engine))
    entry = planned.entries[0]
    attempt = writer.begin(planned.spec.name, entry.trial_id, entry.images, lane="lane-0", host="node", pid=11)
    assert attempt is not None
    reports: list[Report] = [scored(entry, {OBJECTIVE: 1.0}), ended(entry)]
    for sequence, report in enumerate(reports):
        writer.report(entry.trial_id, attempt.number, sequence, report)
    lease.release()
    engine.dispose()


def test_nothing_is_started_where_the_budget_holds_nothing_more(tmp_path: Path, store: MlflowStore) -> None:
    home, said = Home(tmp_path), list[str]()
    tree = tiny_sweep(data=few_images(tmp_path), budget={"images_per_trial": 16, "total_images": 16}, tracking=store.uri)
    planned = plan(SweepSpec.model_validate(tree), source="sweep.yaml")
    trained_once(planned, home.ledger)
    result = run_sweep(planned, home, address=NOBODY, watch=lambda reader, stopping: None, tell=said.append)
    assert result.state is SweepState.INCOMPLETE
    assert result.reason == "`budget.total_images` is 16: 16 are spent and the next needs 16"
    assert result.undelivered == 0
    assert said[0] == "nothing is trained and no Ray started, since the budget holds nothing more"
    reader = LedgerReader(open_engine(home.ledger))
    assert [row.state for row in reader.entries("tiny")] == [EntryState.DONE, EntryState.OUT_OF_BUDGET]
    assert len(reader.attempts("tiny")) == 1
