"""`judge` on a real MLflow store, a real Optuna study and a file, as plain scripts without this program leave them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient

from jit_sweep.cli import judge as judging
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from jit_sweep.results.foreign import ForeignComparison
from tests.support.cli import jit_sweep
from tests.support.mlflow import MlflowStore

LOSS = {"adam": [1.00, 1.10, 1.05, 1.20], "lion": [0.80, 0.93, 0.84, 1.01]}
HOW = ForeignComparison(("optimizer",), "seed", "loss", scale="log")
ASKED = ("--arm", "optimizer", "--seed", "seed", "--ratios")


def judged(*arguments: str, cwd: Path) -> dict[str, Any]:
    done = jit_sweep("judge", *arguments, *ASKED, "--json", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_lion_wins(found: dict[str, Any]) -> None:
    [row] = found["rows"]
    assert (row["verdict"], row["reason"], row["test"]["n"]) == ("REAL", "optimizer=lion is better", 4)
    assert row["test"]["effect"] == pytest.approx(-18, abs=1)


def test_the_runs_of_an_mlflow_experiment_are_judged(store: MlflowStore, tmp_path: Path) -> None:
    client = MlflowClient(store.uri)
    experiment = client.create_experiment("theirs")
    for optimizer, values in LOSS.items():
        for seed, value in enumerate(values):
            run = client.create_run(experiment).info.run_id
            for name, given in (("optimizer", optimizer), ("seed", seed), ("batch_size", 32)):
                client.log_param(run, name, given)
            client.log_metric(run, "loss", 2 * value, step=1)
            client.log_metric(run, "loss", value, step=2)
            client.set_terminated(run)
    assert_lion_wins(judged("--mlflow", store.uri, "--experiment", "theirs", "--metric", "loss", cwd=tmp_path))


def test_the_trials_of_an_optuna_study_are_judged(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=storage, study_name="theirs")

    def objective(trial: optuna.Trial) -> float:
        optimizer = trial.suggest_categorical("optimizer", ["adam", "lion"])
        return LOSS[optimizer][trial.suggest_int("seed", 0, 3)]

    for optimizer in LOSS:
        for seed in range(4):
            study.enqueue_trial({"optimizer": optimizer, "seed": seed})
    study.optimize(objective, n_trials=8)
    assert_lion_wins(judged("--optuna", storage, "--study", "theirs", "--metric", "value", cwd=tmp_path))


def test_the_rows_of_a_file_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["optimizer", "seed", "loss"])
        rows.writerows([optimizer, seed, value] for optimizer, values in LOSS.items() for seed, value in enumerate(values))
    assert judging.judge_csv(tmp_path / "runs.csv", how=HOW, as_json=True) == 0
    assert_lion_wins(json.loads(capsys.readouterr().out))


def test_what_is_not_there_is_told_and_not_made(tmp_path: Path, store: MlflowStore) -> None:
    nowhere, home = f"sqlite:///{tmp_path}/none.db", home_at(tmp_path)
    with pytest.raises(UserError, match="must be a readable file"):
        judging.judge_csv(tmp_path / "none.csv", how=HOW, as_json=True)
    with pytest.raises(UserError, match="where there is no file"):
        judging.judge_study(nowhere, "s", home, how=HOW, as_json=True)
    with pytest.raises(UserError, match="no MLflow store"):
        judging.judge_mlflow(nowhere, "e", home, how=HOW, as_json=True)
    with pytest.raises(UserError, match="`--experiment` must be one of the store's, got 'Defalt'; did you mean 'Default'"):
        judging.judge_mlflow(store.uri, "Defalt", home, how=HOW, as_json=True)
    assert not (tmp_path / "none.db").exists()


def written(folder: Path, **columns: list[Any]) -> Path:
    rows = zip(*columns.values(), strict=True)
    (folder / "runs.csv").write_text("\n".join(",".join(map(str, row)) for row in ([*columns], *rows)))
    return folder / "runs.csv"


def test_another_score_of_a_file_is_no_confounder_where_it_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = {"optimizer": ["adam"] * 4 + ["lion"] * 4, "seed": [*range(4)] * 2, "loss": [*LOSS["adam"], *LOSS["lion"]]}
    file = written(tmp_path, **arms, accuracy=[0.7] * 4 + [0.8] * 4)
    assert judging.judge_csv(file, how=HOW, as_json=True) == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert row["verdict"] == "NOT COMPARABLE"
    assert row["reason"].endswith("--ignore it if it is a result")
    assert judging.judge_csv(file, how=replace(HOW, ignore=("accuracy",)), as_json=True) == 0
    assert_lion_wins(json.loads(capsys.readouterr().out))
    with pytest.raises(UserError, match="got 'acuracy'; did you mean 'accuracy'"):
        judging.judge_csv(file, how=replace(HOW, ignore=("acuracy",)), as_json=True)


def test_results_among_a_study_s_attributes_are_no_confounders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=storage, study_name="theirs")
    for optimizer, values in LOSS.items():
        for seed, value in enumerate(values):
            trial = optuna.trial.create_trial(
                params={"optimizer": optimizer, "seed": seed},
                distributions={
                    "optimizer": optuna.distributions.CategoricalDistribution(["adam", "lion"]),
                    "seed": optuna.distributions.IntDistribution(0, 3),
                },
                value=value,
                user_attrs={"accuracy": 0.8 if optimizer == "lion" else 0.7},
            )
            study.add_trial(trial)
    how = replace(HOW, metric="value")
    assert judging.judge_study(storage, "theirs", home_at(tmp_path), how=how, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert_lion_wins(found)
    assert "results, and not looked at: accuracy" in found["remarks"]
