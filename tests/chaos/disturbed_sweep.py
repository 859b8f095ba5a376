"""The sweep that is disturbed: twelve trials of less than a second each, halved twice by the whole cohort."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.sweeps import write_sweep

NAME = "disturbed"
AXES = {"prediction": ["x", "v", "eps"], "t_sampling": ["logit_normal", "uniform"], "learning_rate": [1e-3, 3e-3]}
SCHEDULER = {"kind": "halving", "mode": "synchronous", "reduction": 2, "first_rung": {"images": 240}, "s_train": 0.0}
EVALUATION = {"n": 8, "sampler": "euler", "steps": 2, "t_eps_sample": 0.05}
RESOURCES = {"cpus": 1, "concurrent": 2, "checkpoint_interval_s": 0.2}


def few_images(folder: Path) -> dict[str, Any]:
    """Data small enough that scoring by it takes no time: 96 images of noise, of which 16 are held out."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 32, 32, 3), dtype=np.uint8)
    file = folder / "images.npz"
    np.savez(file, images=pixels, labels=np.arange(96) % 4)
    return {"uri": str(file), "holdout": 16, "flip": False}


def write_disturbed(folder: Path, *, seed: int, storage: str, tracking: str) -> str:
    """Its file. A synchronous scheduler decides by what was measured and by nothing else, so that kills change no decision.

    seed: the trials' own; sweeps of other seeds share no trial, and so may share a storage.
    """
    return write_sweep(
        folder,
        name=NAME,
        data=few_images(folder),
        stages=[{"grid": {"axes": AXES, "seeds": [seed], "contrasts": []}}],
        evaluation=EVALUATION,
        budget={"images_per_trial": 960},
        scheduler=SCHEDULER,
        resources=RESOURCES,
        storage=storage,
        tracking=tracking,
    )
