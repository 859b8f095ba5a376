"""A sweep whose file has its trained networks' sampling tuned: through Ray, into the ledger, the tables and MLflow."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from jit_sweep.home import home_at
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepState
from tests.support.cli import Running, jit_sweep, rows_of
from tests.support.ray_head import Head
from tests.support.sweep_files import write_sweep

FD = "fd_efflite0_96"
LEARNS: dict[str, Any] = {
    "baseline": {"preset": "jit-tiny", "optimiser": {"learning_rate": 2e-3, "warmup_images": 0}, "batch_size": 32},
    "stages": [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 2}}],
    "budget": {"images_per_trial": 3200, "rungs": 2},
}
"""Trials that do not collapse: what has learned nothing is not tuned."""
EVALUATION = {"n": 64, "sampler": "euler", "steps": 4}


def test_each_network_is_tuned_once_and_both_views_stand_beside_each_other(tmp_path: Path, head: Head) -> None:
    tune: dict[str, Any] = {"steps": [2], "weights": "all", "n": 32, "trials": 8}
    file = write_sweep(tmp_path, evaluation={**EVALUATION, "tune": tune}, **LEARNS)
    said = run(file, tmp_path, head)
    assert "tuned 2 of 2" in said
    home = home_at(tmp_path / ".jit-sweep")
    reader = LedgerReader.open(home.ledger)
    trials = [row.trial_id for row in reader.entries("tiny")]
    drawn = {trial: len(reader.evaluated(trial)) for trial in trials}
    found = reader.tuned("tiny")
    assert {found[trial].tried for trial in trials} == {4}, "two step counts of two weights"
    assert "each at its best" in said
    rows = json.loads(jit_sweep("leaderboard", "tiny", "--json", cwd=tmp_path).stdout)["tuned"]
    assert [row["best"]["value"] for row in rows] == [found[row["trial"]].best.value for row in rows]
    tags = [run.data.tags for run in MlflowClient(home.tracking).search_runs(["1"], "tags.jit_sweep.kind = 'trial'")]
    assert {float(each[f"tuned.best.{FD}"]) for each in tags} == {float(f"{found[t].best.value:.6g}") for t in trials}
    assert {each["tuned.weights"] for each in tags} <= {"raw", "ema"}

    assert "tuned" not in run(file, tmp_path, head).split("sweep tiny")[0], "nothing is left to tune"
    assert {trial: len(reader.evaluated(trial)) for trial in trials} == drawn

    changed = yaml.safe_load(Path(tmp_path, file).read_text())
    changed["evaluation"]["tune"]["steps"] = [2, 3]
    Path(tmp_path, file).write_text(yaml.safe_dump(changed))
    assert "tuned 2 of 2" in run(file, tmp_path, head)
    for trial in trials:
        seen = [each.evaluation_id for each in reader.evaluated(trial)]
        assert len(seen) == len(set(seen)) > drawn[trial], "what was known is not drawn again"
        assert reader.tuned("tiny")[trial].tried == 6


@pytest.mark.long
def test_a_tuning_that_is_interrupted_goes_on_where_it_was_and_the_sweep_runs_until_its_end(tmp_path: Path, head: Head) -> None:
    tune: dict[str, Any] = {"steps": [2, 3], "n": 32, "trials": 8}
    file = write_sweep(tmp_path, evaluation={**EVALUATION, "tune": tune}, resources={"concurrent": 1}, **LEARNS)
    command = Running("run", file, cwd=tmp_path)
    with command:
        command.until(lambda said: "tuned 1 of 2" in said)
        assert jit_sweep("status", "tiny", cwd=tmp_path).stdout.startswith("sweep tiny: running, run by ")
        assert command.end(signal.SIGINT) == 130, command.said
    reader = LedgerReader.open(home_at(tmp_path / ".jit-sweep").ledger)
    assert reader.sweep("tiny").state is SweepState.INTERRUPTED
    [first] = reader.tuned("tiny")
    trials = [row.trial_id for row in reader.entries("tiny")]
    drawn = {trial: [each.evaluation_id for each in reader.evaluated(trial)] for trial in trials}
    assert "sampling is tuned of 1 trial, and still to be of 1" in jit_sweep("status", "tiny", cwd=tmp_path).stdout

    assert "tuned 1 of 1" in run(file, tmp_path, head)
    assert reader.sweep("tiny").state is SweepState.DONE
    assert set(reader.tuned("tiny")) == set(trials)
    for trial in trials:
        seen = [each.evaluation_id for each in reader.evaluated(trial)]
        assert seen[: len(drawn[trial])] == drawn[trial]
        assert len(seen) == len(set(seen)), "nothing is drawn twice"
    assert len(drawn[first]) == len(reader.evaluated(first))
    costs = {row["outcome"]: row["seconds"] for row in rows_of("status", "tiny", "--cost", cwd=tmp_path)}
    assert costs["tuning"] == pytest.approx(sum(each.seconds for trial in trials for each in reader.evaluated(trial)))


def test_a_budget_that_training_has_spent_tunes_nothing_and_starts_no_ray(tmp_path: Path, head: Head) -> None:
    file = write_sweep(tmp_path, evaluation=EVALUATION, **LEARNS)
    run(file, tmp_path, head)
    changed = yaml.safe_load(Path(tmp_path, file).read_text())
    changed["evaluation"]["tune"] = {"steps": [2], "n": 32}
    changed["budget"]["gpu_hours"] = 1e-4
    Path(tmp_path, file).write_text(yaml.safe_dump(changed))
    done = jit_sweep("run", file, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert "sampling is tuned no further" in said
    assert "starting Ray" not in said
    reader = LedgerReader.open(home_at(tmp_path / ".jit-sweep").ledger)
    assert (reader.tuned("tiny"), reader.sweep("tiny").state) == ({}, SweepState.INCOMPLETE)


def run(file: str, folder: Path, head: Head) -> str:
    done = jit_sweep("run", file, "--address", head.address, cwd=folder, **head.client_env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
