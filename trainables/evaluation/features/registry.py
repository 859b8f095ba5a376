"""The feature extractors that metrics are computed on, by name. No torch here: an extractor's code is found by name.

To add one: a file beside this one with an object of the protocol `Extractor`, and a line in `EXTRACTORS`.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from trainables.config.features import FeaturesConfig

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


@runtime_checkable
class Classifier(Protocol):
    """An extractor whose network names classes, too."""

    def logits(self, features: "Tensor") -> "Tensor":
        """Class logits [n, classes] of features [n, dimensions]."""


_FROM_FILE = "trainables.evaluation.features.from_file:from_file"
EXTRACTORS: dict[str, str] = {
    "efflite0": "trainables.evaluation.features.efficientnet:EFFICIENTNET_LITE0",
    "points": "trainables.evaluation.features.points:POINTS",
    "inception": _FROM_FILE,
    "inception_other": _FROM_FILE,
    "dinov2": _FROM_FILE,
    "vit": _FROM_FILE,
}
"""`module:object`, imported on first use; `from_file` makes the object of an evaluation's `features`."""


def extractor(name: str, features: FeaturesConfig = "efflite0") -> Extractor:
    """An extractor by its registered name; one with a file is that of these `features`."""
    found = resolve_name(EXTRACTORS[name])
    return cast(Extractor, found(features) if EXTRACTORS[name] == _FROM_FILE else found)
