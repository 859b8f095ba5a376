"""A home as a run leaves it, made without Ray: ledger, MLflow, checkpoints and sample grids of two arms."""

import gc
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mlflow.tracking._tracking_service import utils as tracking_utils

from jit_sweep.home import Home, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.promote import Promotion
from tests.support.champions import champion_of
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored
from trainables.evaluation.grid import write_grid
from trainables.networks.registry import build
from trainables.storage.checkpoint import Store
from trainables.training.ema import Averages

SWEEP, MODEL = "mine", "demo"


def make_home(place: Path, *, empty_mlflow: Path) -> Home:
    """With a champion of one arm, and a better arm of which MLflow has not heard."""
    home = home_at(place)
    home.make()
    shutil.copy(empty_mlflow, home.path / "mlflow.db")
    engine = open_engine(home.ledger)
    ledger = LedgerFixture(engine)
    train_arm(ledger, home, {"prediction": "x"}, [3.0, 4.0])
    champion(home)
    train_arm(ledger, home, {"prediction": "v"}, [1.0, 2.0])
    ledger.lease.release()
    engine.dispose()
    gc.collect()  # readers' connections close, which folds sqlite's journals into their files once and for all
    forget_artifact_places()
    return home


def forget_artifact_places() -> None:
    """As in a new process: MLflow keeps for a process where each run's artifacts lie."""
    tracking_utils._artifact_repos_cache.clear()


def train_arm(ledger: LedgerFixture, home: Home, arm: Mapping[str, Any], values: list[float]) -> None:
    store = Store(str(home.store))
    for seed, value in enumerate(values):
        entry = planned(arm=arm, seed=seed)
        averages = Averages(build(entry.trial), entry.trial.ema, batch_size=entry.trial.batch_size).tensors
        store.write(entry.trial_id, attempt=1, images=entry.images, tensors=averages, state={})
        grid = f"{store.folder(entry.trial_id, 1)}/samples.png"
        write_grid(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), grid, columns=2)
        ledger.plan(entry)
        score = scored(entry, {OBJECTIVE: value}).model_copy(update={"grid": grid})
        ledger.tell(ledger.begin(entry), score, ended(entry))


def champion(home: Home, sweep: str = SWEEP, *, trial: str | None = None) -> Promotion:
    return champion_of(LedgerReader.open(home.ledger), sweep, home.locations(), trial=trial, name=MODEL)
