"""The example notebook: valid, and every code cell runs from the first to the last."""

import ast
import json
from pathlib import Path

import pandas
import pytest

from jit_sweep.ledger.connect import open_engine
from tests.support.documents import DOCS
from tests.support.ledger import LedgerFixture
from tests.support.scored_arms import collapse_arm, train_arm

NOTEBOOK = json.loads((DOCS / "open-sweep.ipynb").read_text())


def results_of(cells: list[str]) -> list[object]:
    """What each cell ends with, run in one namespace as a notebook does; None of one that ends with a statement."""
    names: dict[str, object] = {}
    found = []
    for cell in cells:
        *before, last = ast.parse(cell).body
        exec(compile(ast.Module(before, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            found.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return found


def test_the_notebook_is_of_a_known_format_and_has_no_outputs() -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert {cell["cell_type"] for cell in NOTEBOOK["cells"]} == {"markdown", "code"}
    assert all(cell["outputs"] == [] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")


def test_its_cells_run_and_show_the_arms_the_pairs_and_the_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".jit-sweep").mkdir()
    engine = open_engine(f"sqlite:///{tmp_path}/.jit-sweep/ledger.db")
    ledger = LedgerFixture(engine, "quickstart")
    train_arm(ledger, {"patch_size": 16, "prediction": "x"}, (10.0, 11.0, 12.0))
    train_arm(ledger, {"patch_size": 16, "prediction": "v"}, (20.0, 22.0, 24.0))
    collapse_arm(ledger, {"patch_size": 8, "prediction": "x"}, (5.0, 5.0, 5.0))
    shown = results_of(["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"])
    engine.dispose()
    arms, sound, paired, verdicts = shown
    assert isinstance(arms, pandas.DataFrame)
    assert isinstance(sound, pandas.DataFrame)
    assert isinstance(paired, pandas.Series)
    assert isinstance(verdicts, pandas.DataFrame)
    assert list(arms["fd_efflite0_96 mean"]) == [11.0, 22.0, 5.0]
    assert sound["mean"].to_dict() == {(16, "x"): 11.0, (16, "v"): 22.0}
    assert paired.tolist() == [-50.0, -50.0, -50.0]
    assert "REAL" in set(verdicts["verdict"])
