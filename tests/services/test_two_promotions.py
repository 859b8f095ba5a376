"""Two people promote to one model at once: two real processes against one registry, on sqlite and on PostgreSQL."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from jit_sweep.tracking.client import open_client
from jit_sweep.tracking.registry import REFUSED, Registry
from tests.support.promotions import PromotionHome, by_prediction

SWEEPS = {"mine": 1e-3, "theirs": 3e-3}
"""With their learning rates: each has a candidate of its own."""
ROUNDS = ("faces", "birds")
PROMOTES = """
import sys
from dataclasses import replace
from pathlib import Path
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.nomination import evidence, nominate
from jit_sweep.models.promote import register
from jit_sweep.spec.stored import stored_spec
from jit_sweep.tracking.registry import Registry

home, sweep, tracking = home_at(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
reader, locations = LedgerReader.open(home.ledger), replace(home.locations(), tracking=tracking)
spec = stored_spec(reader.sweep(sweep).spec, sweep=sweep)
for model in map(str.strip, sys.stdin):
    standing = Registry(tracking).standing(model)
    nomination = nominate(reader, sweep, spec, model=model, trial=None, seeds=3, standing=standing)
    made = evidence(reader, nomination, compares=True)
    print("told has seen the model", flush=True)
    sys.stdin.readline()
    try:
        done = register(reader, nomination.spec.name, made, name=model, standing=standing, locations=locations)
        print("told", done, flush=True)
    except UserError as error:
        print("told refused:", error, flush=True)
"""
"""Promotes as the command does once the retraining is there, and waits between what it compares with and what it registers."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> PromotionHome:
    """Two sweeps whose best arms were trained on fresh seeds, and no champion."""
    made = PromotionHome.at(tmp_path_factory.mktemp("swept") / "home", empty_mlflow=empty_mlflow)
    for place, (name, rate) in enumerate(SWEEPS.items(), start=1):
        made.sweep(name, by_prediction({"x": 280.0 * place, "v": 900.0}), learning_rate=rate)
        made.retrain(name, [300.0, 303.0, 309.0])
    made.close()
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def tracking(request: pytest.FixtureRequest, swept: PromotionHome, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return swept.copy(tmp_path / "home").home.tracking
    uri: str = request.getfixturevalue("postgres_uri")
    open_client(uri).search_experiments()  # makes its tables
    return uri


def promoting(swept: PromotionHome, sweep: str, tracking: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROMOTES, str(swept.home.path), sweep, tracking]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(line.removeprefix("told ").strip() for line in process.stdout if line.startswith("told "))


def test_of_two_promotions_at_once_one_is_the_champion_and_the_other_is_told(swept: PromotionHome, tracking: str) -> None:
    with ExitStack() as ending:
        both = [ending.enter_context(promoting(swept, sweep, tracking)) for sweep in SWEEPS]
        for process in both:
            ending.callback(process.kill)
        for model in ROUNDS:
            for process in both:
                say(process, model)
            assert [told(process) for process in both] == ["has seen the model"] * 2
            for process in both:
                say(process, "go on")
            assert_one_won(model, [told(process) for process in both], tracking)


def assert_one_won(model: str, said: list[str], tracking: str) -> None:
    won, lost = sorted(said, key=lambda line: line.startswith("refused"))
    assert won.startswith(f"{model} version 1 is the champion")
    assert lost.startswith("refused: ")
    assert "promote again" in lost
    found = Registry(tracking).model(model)
    assert found.aliases == {"champion": 1}
    assert [crowned.version for crowned in found.history] == [1]
    assert found.versions[-1].tags["chosen_in"] == [*SWEEPS][said.index(won)]
    assert [version.tags[REFUSED] for version in found.versions[:-1]] == ["version 1 was registered first"] * (
        len(found.versions) - 1
    )
