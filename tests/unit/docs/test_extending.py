"""Each row of docs/extending.md holds: a throw-away entry in the registry that it names is used by the program."""

import importlib
from collections.abc import MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tests.support.documents import DOCS, rows_of
from tests.unit.docs import network_seams, plan_seams, trainer_seams

PROOFS = plan_seams.PROOFS | trainer_seams.PROOFS | network_seams.PROOFS


class Named(NamedTuple):
    """What a cell such as `folder/file.py: NAME` names."""

    module: ModuleType
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.module, self.name)


def named(cell: str) -> Named:
    file, _, name = cell.strip("`").partition(": ")
    return Named(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


def rows() -> dict[str, list[str]]:
    """The page's rows by seam."""
    return {row[0]: row for row in rows_of(DOCS / "extending.md", heading="# Adding something")}


def test_the_page_has_a_row_for_each_proof_and_no_other() -> None:
    assert rows().keys() == PROOFS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seam", PROOFS)
def test_a_throw_away_entry_of_the_row_is_used(seam: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, protocol, registry, what = rows()[seam]
    assert callable(named(protocol).value)
    assert what

    def add(name: Any, entry: Any) -> None:
        module, attribute = named(registry)
        entries = getattr(module, attribute)
        if isinstance(entries, MutableMapping):
            monkeypatch.setitem(entries, name, entry)
        else:
            monkeypatch.setattr(module, attribute, (entry, *entries))

    PROOFS[seam](add, tmp_path)
