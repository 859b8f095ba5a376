"""Each row of docs/extending.md holds: a throw-away entry in the registry that it names is used by the program."""

import importlib
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from jit_sweep.ledger.failures import Rule, follow_up
from jit_sweep.ledger.records import Cause, EntryState
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from search_spaces.axes import Axis, Slot
from search_spaces.presets import PRESETS
from search_spaces.quantities import Quantity
from tests.support.documents import DOCS, rows_of
from tests.support.sweep_files import write_sweep
from trainables.config.fields import Fraction

PAGE = DOCS / "extending.md"
Add = Callable[[str, Any], None]
"""Puts an entry into the row's registry, for the length of a test."""


def rows() -> dict[str, list[str]]:
    """The page's rows by seam."""
    return {row[0]: row for row in rows_of(PAGE, heading="# Adding something")}


def named_object(cell: str) -> Any:
    """What a cell such as `folder/file.py: NAME.attribute` names."""
    file, _, name = cell.strip("`").partition(": ")
    value = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    for part in name.split("."):
        value = getattr(value, part)
    return value


def planned(folder: Path, **changes: Any) -> Plan:
    return plan(read_spec(write_sweep(folder, **changes)), source="sweep.yaml")


def axis(add: Add, folder: Path) -> None:
    """An axis that a grid then varies."""

    def put(tree: dict[str, Any], value: float) -> None:
        tree["diffusion"]["label_drop"] = value

    slot = Slot(put, lambda tree: float(tree["diffusion"]["label_drop"]))
    add("label_drop", Axis("label_drop", "share of labels dropped", TypeAdapter(Fraction), slot))
    entries = planned(folder, stages=[{"grid": {"axes": {"label_drop": [0.0, 0.25]}}}]).entries
    assert [entry.trial.diffusion.label_drop for entry in entries] == [0.0, 0.25]


def quantity(add: Add, folder: Path) -> None:
    """A quantity that a grid is then limited by."""
    add("blocks", Quantity("blocks", "blocks", "depth of the network", lambda trial, _: trial.model.depth))
    grid = {"axes": {"depth": [2, 4]}, "limits": {"blocks": 3}}
    assert [entry.trial.model.depth for entry in planned(folder, stages=[{"grid": grid}]).entries] == [2]


def preset(add: Add, folder: Path) -> None:
    """A preset that a baseline then starts from."""
    add("throw-away", PRESETS["jit-tiny"].model_copy(update={"batch_size": 4}))
    assert {entry.trial.batch_size for entry in planned(folder, baseline={"preset": "throw-away"}).entries} == {4}


def failure_rule(add: Add, _: Path) -> None:
    """A rule that a failed attempt is then handled by."""
    assert follow_up(Cause.BUG, [], images=0).leaves is EntryState.FAILED
    add(Cause.BUG, Rule(again=2, first_wait_s=3.0))
    after = follow_up(Cause.BUG, [], images=0)
    assert (after.leaves, after.wait_s) == (EntryState.WAITING, 3.0)


PROOFS: dict[str, Callable[[Add, Path], None]] = {
    "axis": axis,
    "quantity": quantity,
    "preset": preset,
    "failure rule": failure_rule,
}


def test_the_page_has_a_row_for_each_proof_and_no_other() -> None:
    assert rows().keys() == PROOFS.keys()


@pytest.mark.parametrize("seam", PROOFS)
def test_a_throw_away_entry_of_the_row_is_used(seam: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, protocol, registry, what = rows()[seam]
    assert callable(named_object(protocol))
    assert what
    entries: MutableMapping[Any, Any] = named_object(registry)
    PROOFS[seam](lambda name, entry: monkeypatch.setitem(entries, name, entry), tmp_path)
