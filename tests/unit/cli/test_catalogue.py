"""What a sweep file may name is printed, and completed by a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jit_sweep.cli import catalogue, main
from jit_sweep.cli.options import sweep_files
from jit_sweep.spec.json_schema import schema_text
from search_spaces.axes import AXES
from search_spaces.quantities import QUANTITIES
from tests.support.cli import environment
from trainables.config.trial import MATHS_VERSION
from trainables.evaluation.metrics.registry import METRICS

COMMANDS = {"axes": catalogue.axes, "metrics": catalogue.metrics}
NAMES = {"axes": [*AXES], "metrics": [*METRICS, *QUANTITIES]}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_names_everything_and_fits_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    COMMANDS[command](as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [name for name in NAMES[command] if not any(line.startswith(f"{name} ") for line in lines)] == []


def test_a_table_says_an_axis_s_values_and_a_metric_s_direction(capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.axes(as_json=False)
    catalogue.metrics(as_json=False)
    words = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "width whole number above 0 token width" in words
    assert "train_tflops TFLOPs training to the trial's budget" in words
    assert [line for line in words if line.startswith("fd_efflite0_96 lower ")]


def test_the_json_has_what_the_registries_hold(capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.axes(as_json=True)
    catalogue.metrics(as_json=True)
    axes, metrics = map(json.loads, capsys.readouterr().out.splitlines())
    assert {row["name"]: row["about"] for row in axes["rows"]} == {name: axis.about for name, axis in AXES.items()}
    assert {row["name"]: row for row in axes["rows"]}["patch_size"]["values"] == {"exclusiveMinimum": 0, "type": "integer"}
    assert {row["name"]: (row["direction"], row["unit"]) for row in metrics["rows"]} == {
        name: (metric.direction, metric.unit) for name, metric in METRICS.items()
    }
    assert {row["name"]: row["bias"] for row in metrics["rows"]} == {name: metric.bias for name, metric in METRICS.items()}
    assert {row["name"]: row["unit"] for row in metrics["quantities"]} == {name: q.unit for name, q in QUANTITIES.items()}


def printed(argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["jit-sweep", argument])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_command_line_prints_the_schema_and_the_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed("schema", monkeypatch, capsys) == schema_text()
    assert printed("--version", monkeypatch, capsys).endswith(f", maths version {MATHS_VERSION}\n")


def test_a_shell_completes_shipped_sweeps_folders_and_sweep_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("quick.yaml", "quiet.yml", "quick.txt"):
        (tmp_path / name).touch()
    (tmp_path / "quarry").mkdir()
    (tmp_path / "quarry" / "one.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert list(sweep_files("qu")) == ["quickstart", "quarry/", "quick.yaml", "quiet.yml"]
    assert list(sweep_files("quarry/")) == ["quarry/one.yaml"]
    assert list(sweep_files("nowhere/on")) == []


def completed(words: str, *, cwd: Path) -> list[str]:
    """What bash is offered for the last word."""
    code = "import sys; sys.argv = ['jit-sweep']\nfrom jit_sweep.cli import main\nmain()"
    asked = {"_JIT_SWEEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(cwd, **asked, **path), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_bash_is_offered_commands_and_sweeps_and_nothing_is_made_by_asking(tmp_path: Path) -> None:
    assert completed("jit-sweep met", cwd=tmp_path) == ["metrics"]
    assert completed("jit-sweep run quickst", cwd=tmp_path) == ["quickstart"]
    assert completed("jit-sweep leaderboard qu", cwd=tmp_path) == []
    assert list(tmp_path.iterdir()) == []
