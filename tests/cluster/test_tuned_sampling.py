"""A sweep whose file has its trained networks' sampling tuned: through Ray, into the ledger, the tables and MLflow."""

import json
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient

from jit_sweep.home import home_at
from jit_sweep.ledger.reader import LedgerReader
from tests.support.cli import jit_sweep
from tests.support.sweep_files import write_sweep

FD = "fd_efflite0_96"
LEARNS: dict[str, Any] = {
    "baseline": {"preset": "jit-tiny", "optimiser": {"learning_rate": 2e-3, "warmup_images": 0}, "batch_size": 32},
    "stages": [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 2}}],
    "budget": {"images_per_trial": 3200, "rungs": 2},
}
"""Trials that do not collapse: what has learned nothing is not tuned."""
EVALUATION = {"n": 64, "sampler": "euler", "steps": 4}


def test_each_network_is_tuned_once_and_both_views_stand_beside_each_other(tmp_path: Path) -> None:
    tune: dict[str, Any] = {"steps": [2], "weights": "all", "n": 32, "trials": 8}
    file = write_sweep(tmp_path, evaluation={**EVALUATION, "tune": tune}, **LEARNS)
    said = run(file, tmp_path)
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

    assert "tuned" not in run(file, tmp_path).split("sweep tiny")[0], "nothing is left to tune"
    assert {trial: len(reader.evaluated(trial)) for trial in trials} == drawn

    changed = yaml.safe_load(Path(tmp_path, file).read_text())
    changed["evaluation"]["tune"]["steps"] = [2, 3]
    Path(tmp_path, file).write_text(yaml.safe_dump(changed))
    assert "tuned 2 of 2" in run(file, tmp_path)
    for trial in trials:
        seen = [each.evaluation_id for each in reader.evaluated(trial)]
        assert len(seen) == len(set(seen)) > drawn[trial], "what was known is not drawn again"
        assert reader.tuned("tiny")[trial].tried == 6


def run(file: str, folder: Path) -> str:
    done = jit_sweep("run", file, cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout
