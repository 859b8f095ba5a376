"""Random weights of the 2015 Inception network by a recipe: the real ones are not shipped, and any show the path."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.support.paths import GOLDEN

SCORES = np.load(GOLDEN / "inception_scores.npz")


@cache
def random_weights() -> dict[str, Tensor]:
    """The golden file's weights, by name."""
    shapes = {
        str(n): tuple(int(size) for size in str(s).split(",") if size)
        for n, s in zip(SCORES["names"], SCORES["shapes"], strict=True)
    }
    return {name: torch.from_numpy(np.asarray(_drawn(name, shape))) for name, shape in shapes.items()}


def digest_of(weights: dict[str, Tensor]) -> str:
    """SHA-256 over the tensors' bytes, in order."""
    digest = hashlib.sha256()
    for tensor in weights.values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def saved(weights: dict[str, Tensor], file: Path) -> str:
    """Write a state dict as torch does; returns the file's SHA-256."""
    torch.save(weights, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _drawn(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    seed = f"{int(SCORES['recipe_seed'])}:{name}:{','.join(map(str, shape))}"
    rng = np.random.RandomState(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "little"))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith(("running_var", ".bn.weight")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith(("running_mean", ".bias")):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    drawn: NDArray[Any] = (np.sqrt(2 / np.prod(shape[1:])) * rng.standard_normal(shape)).astype(np.float32)
    return drawn
