"""The planted bugs still fit the program; that they are found, `python -m tests.simulation.mutations` says."""

import shutil
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, TOP, Mutation, planted


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_has_its_place(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / "jit_sweep" / mutation.file
    copy.parent.mkdir(parents=True)
    shutil.copy(TOP / "jit_sweep" / mutation.file, copy)
    planted(mutation, tmp_path)
    assert copy.read_text() != (TOP / "jit_sweep" / mutation.file).read_text()
