"""An image set that needs no file: random pixels, with labels in turn."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class NoiseImages:
    """`count` random images of `size` pixels, all of them for training: an `ImageSet` in memory."""

    def __init__(self, count: int, *, size: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
        self.classes = torch.arange(count) % classes
        self.train: NDArray[np.int64] = np.arange(count)
        self.heldout: NDArray[np.int64] = np.arange(0)
        self.fingerprint = f"noise-{count}-{size}-{classes}"

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        return self.pixels[torch.from_numpy(indices)]

    def labels(self, indices: NDArray[np.int64]) -> Tensor:
        return self.classes[torch.from_numpy(indices)]
