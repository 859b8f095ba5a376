"""`--json`: every command has it, and prints one object whatever happens; a person's words go to standard error."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from jit_sweep.cli import main
from jit_sweep.cli.app import app
from jit_sweep.home import Home
from tests.support.cli import Running
from tests.support.home import make_home
from tests.support.sweep_files import write_sweep


def answer(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and object of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["jit-sweep", *arguments, "--json"])
    capfd.readouterr()
    code = main()
    printed: dict[str, Any] = json.loads(capfd.readouterr().out)
    return code, printed


@pytest.fixture
def home(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home of the folder that this process is in."""
    monkeypatch.chdir(tmp_path)
    return make_home(tmp_path / ".jit-sweep", empty_mlflow=empty_mlflow)


def test_every_command_takes_json() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    commands = [command for command in group.commands.values() if isinstance(command, TyperCommand)]
    assert [command.name for command in commands if "as_json" not in {each.name for each in command.params}] == []


MISTAKES = (
    (("validate", "none.yaml"), "none.yaml: No such file"),
    (("plan", "quickstart", "--price", "2"), "need --probe"),
    (("run", "none.yaml"), "none.yaml: No such file"),
    (("submit", "quickstart", "--address", "nowhere"), "`--address` must be http://HOST:PORT"),
    (("status",), "run a sweep first"),
    (("stop", "mine"), "run a sweep first"),
    (("leaderboard", "mine"), "run a sweep first"),
    (("compare", "mine", "other"), "run a sweep first"),
    (("ui", "mine"), "run a sweep first"),
    (("promote", "mine", "--name", "m"), "run a sweep first"),
    (("gc",), "run a sweep first"),
    (("sample", "m", "--out", "m.png"), "no MLflow store"),
    (("evaluate", "m"), "no MLflow store"),
    (("evaluate", "m", "--holdout", "9"), "needs --data"),
    (("export", "m"), "needs DIR for a model"),
    (("import-jit", "none.pth", "out"), "none.pth"),
    (("export-jit", "none/", "out.pth"), "none"),
    (("schema", "--nosuch"), "No such option"),
    (("sample", "m", "--out", "m.png", "--tracking", "mlruns"), "--tracking: `tracking` must be http(s)://HOST:PORT"),
    (("status", "--cost", "--home", "~nobody-of-this-name"), "needs a sweep"),
    (("rum",), "No such command"),
)


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda part: part[0] if isinstance(part, tuple) else "")
def test_a_mistake_is_an_object_with_the_exit_code_that_it_has_for_people(
    arguments: tuple[str, ...],
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed = answer(capfd, monkeypatch, *arguments)
    assert (code, printed["schema"]) == (2, "jit-sweep/error/1")
    assert message in printed["rows"][0]["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_told_to_the_person_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["jit-sweep", "status", "--json"])
    assert main() == 2
    assert capfd.readouterr().err.startswith("error: there is no ledger in ")


@pytest.mark.usefixtures("home")
def test_what_comes_after_a_sweep_answers_with_rows(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = {
        ("stop", "mine"): [{"sweep": "mine", "stopped": None}],
        ("sample", "demo", "--out", "two.PNG", "--n", "2"): [{"file": "two.PNG", "images": 2, "model": "demo"}],
    }
    for arguments, rows in expected.items():
        assert answer(capfd, monkeypatch, *arguments) == (0, {"schema": f"jit-sweep/{arguments[0]}/1", "rows": rows})
    code, exported = answer(capfd, monkeypatch, "export", "demo", "out")
    assert (code, sorted(row["file"] for row in exported["rows"])) == (0, sorted(map(str, Path("out").iterdir())))
    assert (tmp_path / "two.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("home")
def test_a_sweep_whose_run_was_killed_stands_as_interrupted_for_status_as_for_stop(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(capfd, monkeypatch, "status")[1]["rows"][0]["state"] == "interrupted"
    assert answer(capfd, monkeypatch, "status", "mine")[1]["state"] == "interrupted"
    assert answer(capfd, monkeypatch, "stop", "mine")[1]["rows"][0]["stopped"] is None
    monkeypatch.setattr(sys, "argv", ["jit-sweep", "status", "mine"])
    with pytest.raises(SystemExit):
        main()
    assert "sweep mine: interrupted, and nobody runs it" in capfd.readouterr().out


def test_the_address_of_mlflow_s_pages_is_an_object(home: Home) -> None:
    with Running("ui", "--port", "0", "--json", cwd=home.path.parent) as ui:
        ui.until(lambda said: said.endswith("}\n"))
        served = json.loads(ui.said)
        assert served["url"].startswith("http://127.0.0.1:")
        assert [row["link"].startswith(served["url"]) for row in served["rows"]] == [True]
        assert ui.end(signal.SIGINT) == 0


@pytest.mark.usefixtures("home")
def test_samples_are_written_as_png_and_under_no_other_name(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, printed = answer(capfd, monkeypatch, "sample", "demo", "--out", "grid.txt")
    assert (code, printed["rows"][0]["message"]) == (2, "`--out` must be a PNG file to write, got grid.txt; name it grid.png")
    assert not (tmp_path / "grid.txt").exists()


def test_a_plan_s_object_is_all_that_standard_output_gets(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, printed = answer(capfd, monkeypatch, "validate", write_sweep(tmp_path))
    assert (code, printed["schema"]) == (0, "jit-sweep/validate/1")
    assert answer(capfd, monkeypatch, "schema")[1]["rows"][0]["title"]
