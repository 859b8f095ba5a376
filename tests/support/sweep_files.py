"""Small sweep files for tests: the quickstart's keys, at a size that takes seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml


def tiny_sweep(**changes: Any) -> dict[str, Any]:
    """Two trials of a very small model, two updates each, scored on eight images; some keys changed."""
    return {
        "name": "tiny",
        "data": {"name": "emoji32", "flip": False},
        "baseline": {
            "preset": "jit-tiny",
            "model": {"width": 16, "depth": 2, "heads": 2, "class_tokens": 2, "class_tokens_start": 1},
            "optimiser": {"learning_rate": 1e-3, "warmup_images": 0},
            "batch_size": 8,
        },
        "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 1}}],
        "objective": "fd_efflite0_96",
        "evaluation": {"n": 8, "sampler": "euler", "steps": 2},
        "budget": {"images_per_trial": 16, "rungs": 2},
        "resources": {"workers": 1, "cpus": 1},
        **changes,
    }


def few_images(folder: Path) -> dict[str, Any]:
    """Data small enough that scoring by it takes no time: 96 images of noise, of which 16 are held out.

    No mean image is near to one of them, so that hardly trained models do not count as collapsed.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (96, 32, 32, 3), dtype=np.uint8)
    file = folder / "images.npz"
    np.savez(file, images=pixels, labels=np.arange(96) % 4)
    return {"uri": str(file), "holdout": 16, "flip": False}


def shaded_colours(folder: Path) -> dict[str, Any]:
    """As few images, of one colour each that brightens from the top to the bottom: a tiny network learns them in seconds."""
    colours = np.random.default_rng(0).integers(0, 256, (96, 1, 1, 3))
    shades = np.linspace(-60, 60, 32).reshape(1, 32, 1, 1)
    pixels = np.broadcast_to(np.clip(colours + shades, 0, 255), (96, 32, 32, 3)).astype(np.uint8)
    file = folder / "colours.npz"
    np.savez(file, images=pixels, labels=np.arange(96) % 4)
    return {"uri": str(file), "holdout": 16, "flip": False}


def write_sweep_of_few_images(folder: Path, **changes: Any) -> str:
    """A tiny sweep's file for a sweep that is run: the features of the packaged images take half a minute of a CPU."""
    return write_sweep(folder, data=few_images(folder), **changes)


def write_sweep(folder: Path, **changes: Any) -> str:
    """A tiny sweep's file."""
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(tiny_sweep(**changes), sort_keys=False))
    return str(path)
