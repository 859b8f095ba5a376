"""The scores of generated images: one function a metric name, the names registered in `trainables.evaluation.metrics.registry`.

Every score is biased by its number of images, so it is compared only with scores at the same n, and with the held-out row:
real images at that n.
"""

import math

import numpy as np
from torch import Tensor

from trainables.data import ImageSet
from trainables.evaluation.features.efficientnet import features
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.metrics.frechet import frechet_distance
from trainables.evaluation.metrics.kernel import kernel_distance
from trainables.evaluation.reference import references


class Scorer:
    """Scores images against one image set. The set's features are made once; `cache` is where they are kept."""

    def __init__(self, images: ImageSet, *, cache: str | None) -> None:
        self._images = images
        self._shape = images.read(images.heldout[:1]).shape[1:]
        self._real = references(images, cache=cache)

    def score(self, generated: Tensor) -> dict[str, float]:
        """Scores of generated uint8 images [n, C, H, W], n >= 2, by metric name.

        Raises ValueError for images of another kind than the set's, NotFinite where a score is not a number.
        """
        self._require_alike(generated)
        found = features(generated)
        return _finite(
            {
                "fd_efflite0_96": frechet_distance(found, self._real.train.moments),
                "fd_efflite0_96_heldout": frechet_distance(found, self._real.heldout.moments),
                "kid_efflite0_96": kernel_distance(found, self._real.train.kernel),
            }
        )

    def heldout_row(self, n: int) -> dict[str, float]:
        """What n real held-out images score against the training split: the mark to read every other score by.

        The images are spread evenly over the held-out list. Raises ValueError where there are fewer than n.
        """
        available = len(self._images.heldout)
        if not 2 <= n <= available:
            rule = f"a held-out row needs 2 to {available} images, what the set holds out"
            raise ValueError(f"{rule}, got n={n}; lower `evaluation.n` or hold out more images")
        found = self._real.heldout.features[np.arange(n) * available // n]
        return _finite(
            {
                "fd_efflite0_96": frechet_distance(found, self._real.train.moments),
                "kid_efflite0_96": kernel_distance(found, self._real.train.kernel),
            }
        )

    def _require_alike(self, generated: Tensor) -> None:
        if generated.ndim != 4 or generated.shape[1:] != self._shape or len(generated) < 2:
            rule = f"generated images must have shape [n, {', '.join(map(str, self._shape))}] with n >= 2"
            raise ValueError(f"{rule}, got {list(generated.shape)}")


def _finite(scores: dict[str, float]) -> dict[str, float]:
    bad = [name for name, score in scores.items() if not math.isfinite(score)]
    if bad:
        raise NotFinite(f"a score must be finite, got {', '.join(bad)} that is not")
    return scores
