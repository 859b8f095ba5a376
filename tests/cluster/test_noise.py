"""The noise of a sweep file that has not run: its baseline is trained for it."""

import json
from pathlib import Path

import pytest

from jit_sweep.home import home_at
from jit_sweep.ledger.reader import LedgerReader
from tests.support.cli import jit_sweep
from tests.support.sweep_files import write_sweep_of_few_images


def test_a_file_s_noise_is_measured_on_its_baseline_which_is_trained_once(tmp_path: Path) -> None:
    measured_twice(tmp_path)


def measured_twice(folder: Path) -> LedgerReader:
    """The ledger in which a file's noise was measured, and measured again from what is known."""
    asked = noise_of(write_sweep_of_few_images(folder))
    first, again = (jit_sweep(*asked, cwd=folder) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout == again.stdout
    found = json.loads(first.stdout)
    assert (found["sweep"], found["seeds"], found["draws"]) == ("tiny-noise", 2, 2)
    assert {row["arm"] for row in found["rows"]} == {None, "prediction=x"}
    reader = LedgerReader.open(home_at(folder / ".jit-sweep").ledger)
    assert [attempt.number for attempt in reader.attempts("tiny-noise")] == [1, 1]
    return reader


@pytest.mark.long
def test_a_sweep_does_not_train_again_what_its_noise_was_measured_on(tmp_path: Path) -> None:
    reader, file = measured_twice(tmp_path), str(tmp_path / "sweep.yaml")
    assert jit_sweep("run", file, cwd=tmp_path).returncode == 0
    shared = {row.trial_id for row in reader.entries("tiny-noise")} & {row.trial_id for row in reader.entries("tiny")}
    assert len(shared) == 1, "the sweep has no further seed of its baseline, and does not train this one again"
    assert next(row.cached for row in reader.entries("tiny") if row.trial_id in shared)
    measured = jit_sweep(*noise_of(file), cwd=tmp_path)
    assert "prediction=v: 1, prediction=x: 1" in measured.stderr, "a file that has run is its sweep"


def noise_of(file: str) -> tuple[str, ...]:
    """The command that measures it."""
    return ("noise", file, "--seeds", "2", "--resamples", "1", "--json")
