"""What a changed sweep file does is said before anything starts, and MLflow shows what it plans no more as such."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from jit_sweep.cli import running_app
from jit_sweep.cli.plan import show
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from tests.support.cli import jit_sweep
from tests.support.played import PlayedHome
from tests.support.sweep_files import few_images, tiny_sweep

SAID = "stage 0 (grid): 1 arm retired, of 1 trial, which stays as history"


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """The file of a sweep that has ended in the home beside it, with an arm less."""
    (tmp_path / ".jit-sweep").mkdir()
    file: dict[str, Any] = tiny_sweep(data=few_images(tmp_path))
    PlayedHome(tmp_path / ".jit-sweep").run(file)
    file["stages"] = [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(file))
    return tmp_path / "sweep.yaml"


def test_plan_prints_the_difference(edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(str(edited), home_at(edited.parent / ".jit-sweep"), as_json=False)
    assert SAID in capsys.readouterr().out
    show(str(edited), home_at(edited.parent / "another"), as_json=False)
    assert SAID not in capsys.readouterr().out


def test_submit_prints_the_difference_before_it_asks_the_cluster(edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError):
        running_app.submit(str(edited), address="http://127.0.0.1:1", wait=False, home_folder=edited.parent / ".jit-sweep")
    assert SAID in capsys.readouterr().out


def test_a_run_prints_the_difference_and_mlflow_shows_what_is_retired(edited: Path) -> None:
    done = jit_sweep("run", str(edited), cwd=edited.parent)
    assert (done.returncode, SAID in done.stdout) == (0, True), done.stdout + done.stderr
    assert "retired, since the file plans them no more" in done.stdout
    client = MlflowClient(f"sqlite:///{edited.parent}/.jit-sweep/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    states = {run.data.tags["arm"]: run.data.tags["state"] for run in runs if "arm" in run.data.tags}
    assert states == {"prediction=x": "done", "prediction=v": "retired"}
    again = jit_sweep("run", str(edited), cwd=edited.parent)
    assert (again.returncode, "changes of what" in again.stdout) == (0, False), again.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_plan_of_a_file_that_run_would_refuse_ends_with_that_refusal(edited: Path, as_json: bool) -> None:
    """The exit code of a mistake, and its words last: what the plan shows before cannot run under this name."""
    tree = yaml.safe_load(edited.read_text())
    edited.write_text(yaml.safe_dump({**tree, "evaluation": {**tree["evaluation"], "steps": 3}}))
    planned = jit_sweep("plan", str(edited), *(["--json"] if as_json else []), cwd=edited.parent)
    assert planned.returncode == 2, planned.stdout
    last = planned.stdout if as_json else planned.stderr
    assert "'tiny' has run with others; rename the sweep, or choose another home with --home:" in last
    assert "evaluation.steps: 2 -> 3" in last
