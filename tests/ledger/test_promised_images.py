"""What a sweep's arms were given at launch stays: read from the ledger, whatever a file or another home's speeds say since."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from jit_sweep.ledger.promised import promised_images
from jit_sweep.plan.plan import plan
from jit_sweep.results.findings import Outcome
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.sweep import SweepSpec
from tests.support.played import PlayedHome, planned_file
from tests.support.sweep_files import tiny_sweep
from trainables.config.shape import speed_shape

BUDGET = {"images_per_trial": 16, "matched": "device_seconds", "rungs": 1}


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    return PlayedHome(tmp_path)


def file(**grid: Any) -> dict[str, Any]:
    return tiny_sweep(stages=[{"grid": {"axes": {"patch_size": [16, 8]}, "seeds": 3, **grid}}], budget=BUDGET)


def launched(home: PlayedHome, tree: dict[str, Any]) -> SweepSpec:
    """The sweep's file, run where the second patch size is half as fast as the first."""
    spec = SweepSpec.model_validate(tree)
    shapes = list(dict.fromkeys(speed_shape(entry.trial) for entry in planned_file(tree).entries))
    home.run_plan(plan(spec, source="a test", speeds=dict(zip(shapes, (1000.0, 500.0), strict=True))))
    return spec


TUNED = {"nuisance": {"axes": {"learning_rate": [1e-3, 2e-3]}, "trials": 2}}


@pytest.mark.parametrize("grid", [{}, TUNED], ids=["plain", "tuned"])
def test_what_arms_were_given_at_launch_is_read_from_the_ledger(home: PlayedHome, grid: dict[str, Any]) -> None:
    spec = launched(home, file(**grid))
    promised = promised_images(home.reader, spec)
    assert promised == {"patch_size=16": 16, "patch_size=8": 8}
    again = plan(spec, source="a test", speeds={}, promised=promised)
    assert {entry.images for entry in again.entries if entry.judged["patch_size"] == 8} == {8}


@pytest.mark.parametrize("change", [{"images_per_trial": 32}, {"count_earlier_stages": True}], ids=str)
def test_another_budget_is_another_promise(home: PlayedHome, change: dict[str, Any]) -> None:
    launched(home, file())
    edited = deepcopy(file())
    edited["budget"] = {**BUDGET, **change}
    assert promised_images(home.reader, SweepSpec.model_validate(edited)) == {}


def test_verdicts_are_by_what_the_ledger_asked_and_not_by_a_file_that_was_edited_since(home: PlayedHome) -> None:
    """An edit that no run has taken up changes nothing; one that a run has is another question, asked too late."""
    tree = tiny_sweep(stages=[{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 3}}])
    home.run(tree)
    before = [each.line for each in read_results(home.reader, home.name).findings.planned]
    planned_file({**tree, "alpha": 0.5})
    assert [each.line for each in read_results(home.reader, home.name).findings.planned] == before
    home.run({**tree, "alpha": 0.5})
    results = read_results(home.reader, home.name)
    assert not results.findings.planned
    assert {each.outcome for each in results.findings.exploratory} == {Outcome.POST_HOC}
