"""A teacher for the loss term `representation`: a vision transformer of random weights in a file."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from trainables.evaluation.features.vit import Vit, VitSizes


def teacher(folder: Path, *, depth: int = 1, patch: int = 4, grid: int = 4, **said: Any) -> dict[str, Any]:
    """What a configuration says of it, changed by `said`; 64 wide, with DINOv2's names."""
    sizes = VitSizes(width=64, depth=depth, hidden=256, patch=patch, positions=1 + grid**2, scaled=True)
    generator = torch.Generator().manual_seed(5)
    state = {name: torch.randn(t.shape, generator=generator) * 0.2 for name, t in Vit(sizes).state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "teacher.safetensors"
    save_file(state, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"weights": str(file), "sha256": sha256, "width": 64, "depth": depth, "patch": patch, "grid": grid, **said}


def representation(folder: Path, **changes: Any) -> dict[str, Any]:
    """The term with such a teacher."""
    return {"kind": "representation", "weight": 0.5, "teacher": teacher(folder), **changes}
