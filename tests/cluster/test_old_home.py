"""A home that an older version has left: a ledger of schema 3, MLflow's database, checkpoints and a champion of commit ce5615d.

Its sweep `ended` has a grid of two seeds, a search and a scheduler that compares weights without averaging; `begun` was
interrupted on its way.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from jit_sweep.models.model_folder import load_network
from tests.support.cli import jit_sweep
from tests.support.paths import GOLDEN
from tests.support.ray_head import Head

INTERRUPTED_AT = 3560


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands run: the old home is `.jit-sweep` in it, moved there, and its sweep files lie beside that."""
    folder = tmp_path_factory.mktemp("old") / "a b%2Fc?d#e::é"
    folder.mkdir()
    with tarfile.open(GOLDEN / "home_ce5615d.tar.xz") as archive:
        archive.extractall(folder / ".jit-sweep", filter="data")
    return folder


def run(head: Head, folder: Path, sweep: str, **changes: Any) -> None:
    """Run one of its sweeps to the end on the session's head, with some keys changed."""
    tree = yaml.safe_load((folder / ".jit-sweep" / "sweeps" / f"{sweep}.yaml").read_text())
    file = folder / f"{sweep}.yaml"
    file.write_text(yaml.safe_dump({**tree, "evaluation": {**tree["evaluation"], "labels": "drawn"}, **changes}))
    done = jit_sweep("run", str(file), "--address", head.address, cwd=folder, **head.client_env)
    assert done.returncode == 0, done.stdout + done.stderr


def printed(folder: Path, *arguments: str) -> dict[str, Any]:
    done = jit_sweep(*arguments, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def expected(folder: Path, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / ".jit-sweep" / "expected" / f"{name}.json").read_text())
    return answer


def stretches(folder: Path, sweep: str) -> list[tuple[str, int]]:
    """Of each stretch of a sweep's training: what its weights came from, and the images that they had seen."""
    with closing(sqlite3.connect(folder / ".jit-sweep" / "ledger.db")) as connection:
        query = "SELECT data FROM event WHERE kind = 'phase' AND sweep = ? ORDER BY id"
        reports = [json.loads(data) for (data,) in connection.execute(query, (sweep,))]
    return [(report["start"], report["images"]) for report in reports]


@pytest.fixture(scope="module")
def upgraded(folder: Path, head: Head) -> Path:
    """The same after its ended sweep was run again, as it was."""
    asked = jit_sweep("leaderboard", "ended", cwd=folder)
    assert (asked.returncode, "running a sweep in it upgrades it" in asked.stderr) == (2, True)
    before = stretches(folder, "ended")
    run(head, folder, "ended")
    assert stretches(folder, "ended") == before
    return folder


def test_a_sweep_that_has_ended_prints_what_it_printed_and_what_is_told_since_then(upgraded: Path) -> None:
    board = expected(upgraded, "ended-leaderboard")
    arm, searched = board["rows"]
    for trial in (*arm["trials"], searched):
        trial |= {"collapsed": True, "activity": None, "standard_errors": {}}
    arm["convergence"] = None  # of two rungs there is no slope
    arm["setting"] = {}  # nothing of it was tuned
    board["heldout"]["rows"] = {}
    board["better_than_real"] = []
    assert printed(upgraded, "leaderboard", "ended") == board
    status = expected(upgraded, "ended-status")
    for row in status["rows"]:
        row["activity"] = None
    assert printed(upgraded, "status", "ended") == status


def test_its_champion_stays_though_it_collapsed_and_loads(upgraded: Path) -> None:
    refused = jit_sweep("promote", "ended", "--name", "faces", cwd=upgraded)
    assert (refused.returncode, "no configuration of ended does" in refused.stderr) == (2, True)
    assert jit_sweep("export", "faces", "faces", cwd=upgraded).returncode == 0
    assert not load_network(upgraded / "faces").training


@pytest.mark.long
def test_a_longer_budget_goes_on_from_its_checkpoints(upgraded: Path, head: Head) -> None:
    before = stretches(upgraded, "ended")
    grid = {"grid": {"axes": {"prediction": ["x"]}, "seeds": 2}}
    budget, one_lane = {"images_per_trial": 32, "rungs": 2}, {"cpus": 1, "concurrent": 1}
    run(head, upgraded, "ended", budget=budget, stages=[grid], scheduler={"kind": "none"}, resources=one_lane)
    assert stretches(upgraded, "ended")[len(before) :] == [("checkpoint", 16)] * 2


def test_an_interrupted_sweep_goes_on_from_where_it_was(upgraded: Path, head: Head) -> None:
    run(head, upgraded, "begun")
    assert stretches(upgraded, "begun") == [("seed", 0), ("checkpoint", INTERRUPTED_AT)]
    [row] = printed(upgraded, "status", "begun")["rows"]
    assert (row["state"], row["attempt"]) == ("done", 2)
