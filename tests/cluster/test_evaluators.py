"""Trials that separate evaluators score: through Ray, with an evaluator killed on its way."""

import os
import signal
from pathlib import Path
from typing import Any

from jit_sweep.home import home_at
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause
from tests.support.cli import Running, jit_sweep
from tests.support.ray_head import Head
from tests.support.sweep_files import write_sweep_of_few_images

EVALUATION = {"n": 16, "sampler": "euler", "steps": 1500}
"""Long enough to be killed in it."""


def sweep(folder: Path, **evaluation: str) -> str:
    folder.mkdir()
    return write_sweep_of_few_images(folder, evaluation={**EVALUATION, **evaluation})


def scores(folder: Path) -> dict[str, Any]:
    return {row.trial_id: row.values for row in ledger(folder).scores("tiny")}


def ledger(folder: Path) -> LedgerReader:
    return LedgerReader.open(home_at(folder / ".jit-sweep").ledger)


def test_separate_evaluators_give_the_trials_own_scores_and_a_lost_one_costs_no_training(tmp_path: Path, head: Head) -> None:
    apart, together = tmp_path / "apart", tmp_path / "together"
    with Running("run", sweep(apart, at="separate"), "--address", head.address, cwd=apart, env=head.client_env) as run:
        run.until(lambda said: "attempt 2 begins" in said)
        (scoring,) = (each for each in ledger(apart).attempts("tiny") if each.number == 2)
        os.kill(scoring.pid, signal.SIGKILL)
        assert run.wait() == 0, run.said
    attempts = {(each.trial_id == scoring.trial_id, each.number): each for each in ledger(apart).attempts("tiny")}
    assert [attempts[True, number].outcome for number in (1, 2, 3)] == ["trained", "failed", "done"]
    assert attempts[True, 2].cause is Cause.WORKER_LOST
    assert [attempts[False, number].outcome for number in (1, 2)] == ["trained", "done"]
    trained = [row.attempt for row in ledger(apart).cost("tiny") if row.kind == "train" and row.seconds > 0]
    assert set(trained) == {1}, "an evaluator trains nothing"

    done = jit_sweep("run", sweep(together), "--address", head.address, cwd=together, **head.client_env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scores(apart) == scores(together) != {}
