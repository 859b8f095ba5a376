"""Every command line that is printed is one that the program takes when it is pasted into a shell."""

import ast
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jit_sweep.cli.app import app
from jit_sweep.cli.convert import folder_commands
from jit_sweep.cli.models import model_commands
from jit_sweep.cli.output import console, print_next
from jit_sweep.cli.run import next_commands
from jit_sweep.commands import TAKES, SharedOptions, shell_line
from jit_sweep.home import DEFAULT_HOME, Locations, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire
from jit_sweep.results.leaderboard import read_results
from tests.support.cli import jit_sweep
from tests.support.ledger import ALICE, OBJECTIVE, LedgerFixture, planned
from tests.support.paths import TOP
from tests.test_layers import PACKAGES

ODD = Path("/tmp/it's [bold]my home :smile: $HOME")
"""What a shell, and a library that draws terminals, take for something else."""


def parsed(line: str) -> dict[str, Any]:
    """What a printed line's command is given, by parameter. click's UsageError: it does not take the line."""
    program, name, *arguments = shlex.split(line)
    assert program == "jit-sweep"
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, arguments).params)


@pytest.mark.parametrize("name", TAKES)
def test_a_printed_command_takes_what_it_is_given_and_finds_it_again(name: str) -> None:
    shared = SharedOptions(ODD, ledger="sqlite:////a b/it's.db", tracking="http://host:5000", address="auto")
    words = {
        "sample": ["m"],
        "export": ["m", "to/"],
        "export-jit": ["a/", "b.pth"],
        "export-neighbour": ["a/", "b.pth"],
        "run": ["mine.yaml"],
    }.get(name, ["mine"])
    options = {"sample": {"out": "a b.png"}, "promote": {"name": "m"}}.get(name, {})
    params = parsed(shared.command(name, *words, **options))
    parameters = {"home": "home_folder"}
    found = {option: params[parameters.get(option, option)] for option in TAKES[name]}
    assert found == {option: getattr(shared, option) for option in TAKES[name]}


def test_the_default_home_is_not_named_and_another_place_is() -> None:
    home = home_at(DEFAULT_HOME)
    assert home.shared_options(home.locations()) == SharedOptions()
    other = Locations(ledger="postgresql://host/db", tracking="http://host:5000", storage="s3://bucket")
    assert home.shared_options(other) == SharedOptions(ledger="postgresql://host/db", tracking="http://host:5000")
    assert home_at(ODD).shared_options(home_at(ODD).locations()) == SharedOptions(home=ODD)


def test_a_password_is_not_printed_and_what_to_set_instead_is_said() -> None:
    shared = SharedOptions(ledger="postgresql://me:secret@host/db")
    assert shared.command("ui", "mine") == "jit-sweep ui mine"
    assert shared.hint == " (with JIT_SWEEP_LEDGER set, since its address holds a password)"
    assert (shared.of_model.hint, SharedOptions(ODD).hint) == ("", "")


def test_what_comes_after_a_run_is_looking_at_it_and_promoting_what_may_win(ledger: LedgerFixture) -> None:
    ledger.train(planned(), {OBJECTIVE: 1.0}, collapsed=True)
    (ui,) = next_commands(read_results(ledger.reader, "mine"), SharedOptions(ODD), served=False)
    assert parsed(ui) == {**parsed("jit-sweep ui mine"), "home_folder": ODD}
    ledger.train(planned(seed=1, arm={"prediction": "v"}), {OBJECTIVE: 2.0})
    (promote,) = next_commands(read_results(ledger.reader, "mine"), SharedOptions(), served=True)
    assert promote == "jit-sweep promote mine --name mine-model"


def test_what_comes_after_a_promotion_finds_the_model_where_it_was_registered() -> None:
    sample, export = model_commands("faces", SharedOptions(ODD, ledger="sqlite:////x.db", tracking="http://host:5000").of_model)
    for line in (sample, export):
        assert (parsed(line)["home_folder"], parsed(line)["tracking"]) == (ODD, "http://host:5000")


@pytest.mark.parametrize("folder", ["jit-b", "-b", "it's mine"])
def test_what_comes_after_an_import_takes_the_folder_as_one(folder: str) -> None:
    sample, export = folder_commands(Path(folder), back="export-jit")
    assert Path(parsed(sample)["model"]) == Path(folder)
    assert parsed(sample)["model"].endswith("/")
    assert parsed(export)["folder"] == Path(folder)


def test_printed_commands_stand_whole_on_a_line_whatever_their_names_mean_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = SharedOptions(ODD).command("sample", "faces", out="x" * 500)
    print_next(console(), line, shell_line("optuna-dashboard", Path("-a[b].log")))
    assert capsys.readouterr().out.splitlines() == ["", "next:", f"  {line}", "  optuna-dashboard './-a[b].log'"]


@pytest.mark.slow
def test_who_finds_a_sweep_taken_is_told_how_to_follow_and_stop_it(tmp_path: Path) -> None:
    home = home_at(tmp_path / "my home")
    home.make()
    acquire(open_engine(home.ledger), "quickstart", ALICE)
    said = jit_sweep("run", "quickstart", "--home", str(home.path), cwd=tmp_path).stderr
    lines = [line.strip() for line in said.splitlines() if line.startswith("  jit-sweep")]
    assert [shlex.split(line)[1] for line in lines] == ["status", "stop"]
    assert all(parsed(line)["home_folder"] == home.path for line in lines)


EXACT = ("axes", "metrics", "schema")
"""Commands that need nothing: they may be named as they are pasted."""


def test_no_text_spells_a_command_line_by_hand() -> None:
    spelled = re.compile(r"\b(?:jit-sweep (--version|[a-z][a-z-]*)|ray job [a-z]+|optuna-dashboard [^ ])")
    commands = {*get_command(app).commands, "--version", None}  # type: ignore[attr-defined]
    files = [file for package in PACKAGES for file in (TOP / package).rglob("*.py") if file.name != "commands.py"]
    texts = [(file, text) for file in files for text in _texts(ast.parse(file.read_text()))]
    assert len(texts) > 1000
    named = [(file.name, match) for file, text in texts for match in spelled.finditer(text)]
    assert {match[1] for _, match in named} >= {"axes", "metrics"}
    assert [f"{name}: {match.string}" for name, match in named if match[1] in commands and match[1] not in EXACT] == []


@pytest.mark.parametrize("name", EXACT)
def test_a_command_that_is_named_as_it_is_needs_nothing(name: str) -> None:
    params = parsed(f"jit-sweep {name}")
    assert {"home_folder", "ledger", "tracking"}.isdisjoint(params)


def test_the_command_that_goes_on_with_a_sweep_is_the_one_that_was_given(tmp_path: Path) -> None:
    shared = home_at(ODD).shared_options(home_at(ODD).locations())
    params = parsed(replace(shared, address="auto").command("run", Path("-my sweep's.yaml")))
    assert (params["file"], params["home_folder"], params["address"]) == ("./-my sweep's.yaml", ODD, "auto")


def _texts(tree: ast.AST) -> list[str]:
    """Every string of a file but its docstrings, with `{}` for what is put in."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            texts.append(node.value)
    return texts
