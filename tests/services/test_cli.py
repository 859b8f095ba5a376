"""The command line tells a user's mistake as one clear error, exits with 2, and leaves nothing half-made."""

import json
import os
from pathlib import Path

import pytest

from tests.support.cli import jit_sweep, rows_of
from tests.support.ports import free_ports
from tests.support.sweep_files import write_sweep


def complaint(*arguments: str, cwd: Path) -> str:
    done = jit_sweep(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def test_a_missing_file_an_unknown_command_and_a_missing_argument_are_usage_errors(tmp_path: Path) -> None:
    assert "none.yaml: No such file" in complaint("run", "none.yaml", cwd=tmp_path)
    assert "No such command" in complaint("rum", cwd=tmp_path)
    assert "Missing" in complaint("promote", "tiny", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_sweep_file_is_refused_before_a_home_is_made(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, stages=[{"grid": {"axes": {"patch_size": [7]}}}])
    assert "patch_size=7" in complaint("run", file, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_cluster_that_does_not_answer_is_refused_at_once(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    said = complaint("run", write_sweep(tmp_path), "--address", f"127.0.0.1:{port}", cwd=tmp_path)
    assert f"`--address` must be a running Ray cluster, got 127.0.0.1:{port}" in said
    assert "ray start --head" in said
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_tracking_server_that_does_not_answer_is_refused_for_a_new_sweep(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    said = complaint("run", write_sweep(tmp_path, tracking=f"http://127.0.0.1:{port}"), cwd=tmp_path)
    assert f"127.0.0.1:{port}" in said
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize("ledger", ["mysql://db/ledger", "sqlite:////proc/none/ledger.db"])
def test_a_ledger_that_cannot_be_opened_is_refused(tmp_path: Path, ledger: str) -> None:
    assert "ledger" in complaint("run", write_sweep(tmp_path, ledger=ledger), cwd=tmp_path)


def test_a_storage_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    said = complaint("run", write_sweep(tmp_path, storage="sweep.yaml/store"), cwd=tmp_path)
    assert "`storage` must be a folder or URI that can be written, got" in said
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_relative_place_is_refused_for_a_cluster_elsewhere(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, storage="store", tracking="sqlite:///m.db", ledger="sqlite:///ledger.db")
    said = complaint("submit", file, "--address", "http://192.0.2.1:8265", cwd=tmp_path)
    assert all(f"`{place}` must be" in said for place in ("storage", "tracking", "ledger"))


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = complaint("run", write_sweep(tmp_path), "--home", "file/home", cwd=tmp_path)
    assert "the home must be a folder that can be written" in said
    assert "--home or JIT_SWEEP_HOME" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc is writable for nobody, but only root gets past other checks")
def test_a_home_on_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    assert "must be a folder that can be written" in complaint(
        "run", write_sweep(tmp_path), "--home", "/proc/home", cwd=tmp_path
    )


@pytest.mark.parametrize("command", [["leaderboard", "tiny"], ["status"], ["promote", "tiny", "--name", "m"], ["ui", "tiny"]])
def test_a_home_without_a_ledger_says_to_run_a_sweep_first(tmp_path: Path, command: list[str]) -> None:
    assert "run a sweep first" in complaint(*command, cwd=tmp_path)


def test_a_model_that_nobody_promoted_is_refused(tmp_path: Path) -> None:
    assert "no MLflow store" in complaint("sample", "faces", "--out", "grid.png", cwd=tmp_path)
    assert "no MLflow store" in complaint("export", "faces", "out", cwd=tmp_path)
    assert not (tmp_path / "grid.png").exists()
    assert not (tmp_path / "out").exists()


def test_plan_as_json_is_one_object_with_schema_and_rows(tmp_path: Path) -> None:
    search = {"search": {"trials": 3, "axes": {"prediction": ["x", "v"]}}}
    grid = {"grid": {"axes": {"t_eps_train": [0.05, 0.0]}}}
    done = jit_sweep("plan", write_sweep(tmp_path, stages=[grid, search]), "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["schema"] == "jit-sweep/plan/1"
    assert [row.get("state") for row in found["rows"]] == [None, None, "proposed later", "proposed later"]
    assert {"trial", "parameters", "tokens", "forward_gflops", "images"} <= found["rows"][0].keys()


def test_plan_says_what_share_of_the_samples_a_clamp_touches(tmp_path: Path) -> None:
    axes = {"t_sampling": ["logit_normal", "uniform"], "t_eps_train": [0.05]}
    said = jit_sweep("plan", write_sweep(tmp_path, stages=[{"grid": {"axes": axes}}]), cwd=tmp_path).stdout
    assert (
        "t_eps_train=0.05 touches 1.4e-06 of the samples under x-prediction, v-loss, logit_normal(mu=-0.8, sigma=0.8)" in said
    )
    assert "t_eps_train=0.05 touches 0.05 of the samples under x-prediction, v-loss, uniform" in said


def test_validate_as_json_counts_the_trials(tmp_path: Path) -> None:
    assert rows_of("validate", write_sweep(tmp_path), cwd=tmp_path)[0]["trials"] == 2
