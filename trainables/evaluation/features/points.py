"""Points as their own features: an image of one pixel is the numbers in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data.pixels import to_unit


@dataclass(frozen=True)
class Points:
    """The two coordinates as an `Extractor` of the registry."""

    dimensions: int = 2

    def variant(self, image_size: int) -> str:
        """There is one."""
        return "points"

    def features(self, images: Tensor) -> Tensor:
        """uint8 [n, 2, 1, 1] -> float32 [n, 2] in [-1, 1], on the CPU. ValueError: images of another type or shape."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (2, 1, 1):
            rule = "`features: points` needs points, such as data: {name: spiral} has"
            raise ValueError(f"{rule}, got {images.dtype} {list(images.shape)}; try features: efflite0")
        return to_unit(images).flatten(1).cpu()


POINTS = Points()
