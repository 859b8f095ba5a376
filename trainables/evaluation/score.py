"""The scores of generated images and of networks: every metric of `trainables.evaluation.metrics.registry`, by its name.

Every score of images is biased by their number, so it is compared only with scores at the same n, and with the held-out row:
real images at that n.
"""

import math

import numpy as np
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.evaluation.features.registry import extractor
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.evaluation.metrics.registry import METRICS, Metric, NetworkAlone, Samples
from trainables.evaluation.real import References
from trainables.evaluation.reference import Read, references


class Scorer:
    """Scores images against one image set. The set's features are made once, of which `read` hears; `cache` is where they
    are kept."""

    def __init__(self, images: ImageSet, *, cache: str | None, read: Read = lambda _done, _of: None) -> None:
        self._images = images
        self._shape = images.read(images.heldout[:1]).shape[1:]
        self._real = {name: references(images, under=name, cache=cache, read=read) for name in extractors_used()}

    def score(self, generated: Tensor) -> dict[str, float]:
        """Scores of generated uint8 images [n, C, H, W], n >= 2, by metric name.

        ValueError: images of another shape than the set's, or fewer than 2. NotFinite: a score is not finite.
        """
        self._require_alike(generated)
        features = {name: extractor(name).features(generated) for name in self._real}
        return _finite({metric.name: self._score(metric, needs, features) for metric, needs in of_samples()})

    def heldout_row(self, n: int) -> dict[str, float]:
        """What n real held-out images score against the training split: what a perfect generator would score at this n.

        The images are spread evenly over the held-out list. ValueError: there are fewer than n.
        """
        available = len(self._images.heldout)
        if not 2 <= n <= available:
            rule = f"a held-out row needs 2 to {available} images, what the set holds out"
            raise ValueError(f"{rule}, got n={n}; lower `evaluation.n` or hold out more images")
        spread = np.arange(n) * available // n
        features = {name: real.heldout.features[spread] for name, real in self._real.items()}
        against_train = [(metric, needs) for metric, needs in of_samples() if needs.against == "train"]
        return _finite({metric.name: self._score(metric, needs, features) for metric, needs in against_train})

    def _score(self, metric: Metric, needs: Samples, features: dict[str, Tensor]) -> float:
        real: References = self._real[needs.extractor]
        return metric.of_samples(features[needs.extractor], real.train if needs.against == "train" else real.heldout)

    def _require_alike(self, generated: Tensor) -> None:
        if generated.ndim != 4 or generated.shape[1:] != self._shape or len(generated) < 2:
            rule = f"generated images must have shape [n, {', '.join(map(str, self._shape))}] with n >= 2"
            raise ValueError(f"{rule}, got {list(generated.shape)}")


def score_network(grid: HeldoutGrid, network: nn.Module, trial: TrialConfig) -> dict[str, float]:
    """Scores of a network without images, by metric name. NotFinite: its output, or a score, is not finite."""
    metrics = [metric for metric in METRICS.values() if isinstance(metric.needs, NetworkAlone)]
    return _finite({metric.name: metric.of_network(grid, network, trial) for metric in metrics})


def of_samples() -> list[tuple[Metric, Samples]]:
    """The metrics that need generated images, each with what it needs."""
    return [(metric, metric.needs) for metric in METRICS.values() if isinstance(metric.needs, Samples)]


def extractors_used() -> list[str]:
    """The extractors that some metric needs."""
    return list(dict.fromkeys(needs.extractor for _, needs in of_samples()))


def _finite(scores: dict[str, float]) -> dict[str, float]:
    bad = [name for name, score in scores.items() if not math.isfinite(score)]
    if bad:
        raise NotFinite(f"a score must be finite, got {', '.join(bad)} that is not")
    return scores
