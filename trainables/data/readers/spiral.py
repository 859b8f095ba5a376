"""Points on a flat spiral, made by rule: the paper's toy (arXiv 2511.13720, figure 2). A point is an image of one pixel."""

import hashlib
import math
from typing import TYPE_CHECKING

from trainables.data.description import DataDescription, refuse_other_holdout
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet

if TYPE_CHECKING:
    from trainables.data.arrays import Arrays

NAME = "spiral"
TRAIN, HELDOUT = 8192, 2048
"""Points, the held-out ones last."""
TURNS = 1.5
RADIUS = 0.9
"""Of its outer end, in a plane whose square is [-1, 1]; a coordinate is kept in 256 steps, as a pixel is."""


class SpiralReader:
    """The set that is called `spiral`."""

    def reads(self, uri: str) -> bool:
        """Whether the address is its name."""
        return uri == NAME

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        refuse_other_holdout(uri, listed=HELDOUT, holdout=holdout)
        return _arrays().description(uri).model_copy(update={"warnings": ()})  # one pixel is of one colour

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        # Here and not at the top: it starts torch, and describing does without.
        from trainables.data.in_memory import ArrayImages

        refuse_other_holdout(uri, listed=HELDOUT, holdout=holdout)
        return ArrayImages.of(_arrays())


def _arrays() -> "Arrays":
    """The points as images uint8 [N, 1, 1, 2]: x, then y."""
    # Here and not at the top: they start numpy, which the registry of readers does without.
    import numpy as np

    from trainables.data.arrays import Arrays

    pixels = [[_raster(value) for value in point(_share(index))] for index in range(TRAIN + HELDOUT)]
    return Arrays(
        images=np.array(pixels, dtype=np.uint8).reshape(-1, 1, 1, 2),
        labels=np.zeros(len(pixels), dtype=np.int64),
        class_names=("spiral",),
        heldout=np.arange(TRAIN, TRAIN + HELDOUT),
    )


def point(u: float) -> tuple[float, float]:
    """(x, y) at the share u of the way: an Archimedean spiral, drawn evenly along its angle."""
    angle, radius = 2 * math.pi * TURNS * u, RADIUS * u
    return radius * math.cos(angle), radius * math.sin(angle)


def _share(index: int) -> float:
    """One number in [0, 1) for each point, by hashing its place."""
    return float(int.from_bytes(hashlib.sha256(f"{NAME} {index}".encode()).digest()[:6], "big")) / 2**48


def _raster(value: float) -> int:
    return round(127.5 * (value + 1))
