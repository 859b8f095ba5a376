"""Small sweep files for tests: the quickstart's keys, at a size that takes seconds."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES


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


def write_sweep_of_few_images(folder: Path, **changes: Any) -> str:
    """A tiny sweep's file for a sweep that is run: the features of the packaged images take half a minute of a CPU."""
    return write_sweep(folder, data={"uri": FEW_IMAGES, "holdout": FEW_HELD_OUT, "flip": False}, **changes)


def write_sweep(folder: Path, **changes: Any) -> str:
    """A tiny sweep's file."""
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(tiny_sweep(**changes), sort_keys=False))
    return str(path)
