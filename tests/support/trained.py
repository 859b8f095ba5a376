"""Trained weights that can be evaluated, on 48 images of 16 px in 3 of the network's 5 classes."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jit_sweep.home import Home, home_at
from jit_sweep.inference.trained import ImagesAt, Owned, Trained
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.plan.entry import Entry
from tests.support.ledger import LedgerFixture, planned
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import LinearEmbedding
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.storage.checkpoint import Store
from trainables.training.learner import Learner
from trainables.training.workers import Workers

HELD_OUT = 16
IMAGES = 960
EVALUATION = EvaluationConfig(n=16, sampler="euler", steps=2)


def image_file(folder: Path) -> ImagesAt:
    """Disks of random place and colour."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    middle, colour = draws.uniform(4, 12, (48, 2)), draws.integers(0, 256, (48, 3))
    inside = (y - middle[:, :1, None]) ** 2 + (x - middle[:, 1:, None]) ** 2 < 16
    images = np.where(inside[..., None], colour[:, None, None], 255).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "disks.npz", images=images, labels=np.arange(48) % 3, heldout=np.arange(32, 48))
    return ImagesAt(str(folder / "disks.npz"))


def disks_trial(at: ImagesAt, **changes: Any) -> TrialConfig:
    """A trial on them whose network knows all classes."""
    data = DataConfig(digest=describe(at.address).digest, image_size=SIZE, num_classes=CLASSES)
    model = small_model(patch_size=8, width=16, depth=2, heads=2, class_tokens=0, embedding=LinearEmbedding())
    rate = OptimiserConfig(learning_rate=1e-2)
    return small_trial(model, data=data, batch_size=48, optimiser=rate, **changes)


@cache
def _raw(trial: TrialConfig, address: str) -> dict[str, Tensor]:
    """Weights after 60 updates, with which the network has not collapsed."""
    learner = Learner(trial, open_images(address), workers=Workers())
    for _ in range(60):
        learner.update()
    return {name: tensor.detach().clone() for name, tensor in learner.network.state_dict().items()}


def weights_of(trial: TrialConfig, at: ImagesAt) -> dict[str, dict[str, Tensor]]:
    """Raw weights of seed 0, and an average that differs from them a little."""
    raw = _raw(trial.model_copy(update={"seed": 0}), at.address)
    return {"raw": raw, "ema": {name: tensor * 0.98 for name, tensor in raw.items()}}


def subject(folder: Path, **changes: Any) -> Trained:
    """A subject that no ledger has."""
    at = image_file(folder)
    trial = disks_trial(at)
    named = {"name": "a network", "trial": trial, "evaluation": EVALUATION, "weights": weights_of(trial, at), "images": IMAGES}
    return Trained(**{**named, "data": at, "storage": str(folder / "store"), **changes})


def trained_home(folder: Path) -> tuple[Home, Entry]:
    """A home whose ledger has one trial with its checkpoint; its sweep's file names the disks."""
    home, (entry,) = home_of_seeds(folder, [{}])
    return home, entry


def home_of_seeds(folder: Path, scores: Sequence[Mapping[str, float]]) -> tuple[Home, list[Entry]]:
    """The same with one arm of several seeds, which have these scores."""
    home, at = home_at(folder / "home"), image_file(folder)
    home.make()
    ledger, store = LedgerFixture(open_engine(home.ledger), spec=spec_on(at)), Store(str(home.store))
    entries = []
    for seed, values in enumerate(scores):
        config = {"trial": disks_trial(at, seed=seed), "evaluation": EVALUATION}
        entries.append(planned(images=IMAGES, seed=seed, position=seed).model_copy(update=config))
        parts = weights_of(entries[-1].trial, at)
        tensors = {"model": parts["raw"], "ema": parts["ema"], "optimiser": {"step": torch.zeros(1)}}
        store.write(entries[-1].trial_id, attempt=1, images=IMAGES, tensors=tensors, state={"final": True})
        ledger.train(entries[-1], values)
    ledger.lease.release()
    return home, entries


def spec_on(at: ImagesAt) -> dict[str, Any]:
    """A sweep file on these images, as a ledger keeps it."""
    return {
        "name": "mine",
        "data": {"uri": at.address, "flip": True},
        "baseline": {"preset": "jit-tiny"},
        "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 1}}],
        "objective": "fd_efflite0_96",
        "evaluation": {"n": 16},
        "budget": {"images_per_trial": IMAGES},
    }


def log_of(home: Home) -> EvaluationLog:
    return EvaluationLog(open_engine(home.ledger, create=False))


def owned(entry: Entry) -> Owned:
    return Owned("mine", entry.trial_id)
