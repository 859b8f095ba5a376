"""The feature extractors that metrics are computed on, by name. No torch here: an extractor's code is found by name.

To add one: a file beside this one with an object of the protocol `Extractor`, and a line in `EXTRACTORS`.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from torch import Tensor


class Extractor(Protocol):
    """A fixed network that turns images into features."""

    dimensions: int

    def variant(self, image_size: int) -> str:
        """Which features images of this size get; statistics of different variants never mix."""

    def features(self, images: "Tensor") -> "Tensor":
        """Features, float32 [n, dimensions] on the CPU, of uint8 images [n, C, H, W] (C = 1 or 3), on the images' device.

        ValueError: images of another type or shape.
        """


EXTRACTORS: dict[str, str] = {"efflite0": "trainables.evaluation.features.efficientnet:EFFICIENTNET_LITE0"}
"""`module:object`, imported on first use."""


def extractor(name: str) -> Extractor:
    """An extractor by its registered name."""
    return cast(Extractor, resolve_name(EXTRACTORS[name]))
