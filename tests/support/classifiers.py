"""Classifiers of noisy images, and images whose classes a few updates find."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.trials import small_model, small_trial
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe
from trainables.evaluation.metrics.registry import RUNG_METRICS

OWN = RUNG_METRICS["classifier"]


def classifier(trunk: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    """A small one, with some keys changed."""
    small: dict[str, Any] = {"kind": "unet_classifier", "width": 32, "blocks": 1, "head_channels": 8}
    model = small_model(class_tokens=0, trunk={**small, **(trunk or {})})
    return small_trial(model, method={"kind": "classifier"}, **changes)


def shades(folder: Path) -> tuple[DataConfig, dict[str, Any]]:
    """Images of 8 px that are bright above or below, and what an assignment says of where they are."""
    labels = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 100, (40, 8, 8, 3), dtype=np.uint8)
    images[labels == 0, :4] += 155
    images[labels == 1, 4:] += 155
    np.savez(folder / "shades.npz", images=images, labels=labels)
    told: dict[str, Any] = {"data": str(folder / "shades.npz"), "holdout": 8, "storage": str(folder)}
    return DataConfig(digest=describe(told["data"], holdout=8).digest, image_size=8, num_classes=2), told


def of_shades(folder: Path, **changes: Any) -> tuple[TrialConfig, dict[str, Any]]:
    """A classifier of them, which 30 updates train."""
    data, told = shades(folder)
    trunk = {"multipliers": (1,), "attention": ()}
    return classifier(trunk, data=data, batch_size=8, optimiser={"learning_rate": 1e-3}, **changes), told
