"""The scores of generated images and of networks: every metric that an evaluation has, by its name.

Every score of images is compared only with scores at the same n and by the same features, and read against rows at that n of
images that are no model's: real held-out ones, white ones, and the training images' mean.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import FeaturesConfig, ReferenceStatistics, extractor_name
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_pixels
from trainables.evaluation.features.registry import Extractor, extractor
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.held_out import HeldOut
from trainables.evaluation.metrics.heldout import mean_image
from trainables.evaluation.metrics.jackknife import group_of
from trainables.evaluation.metrics.registry import METRICS, Metric, NetworkAlone, Samples, metrics_under
from trainables.evaluation.reference import Read, compared_with, references, variant_of
from trainables.evaluation.statistics_file import statistics_of
from trainables.process_caches import ProcessCache

MOST_JACKKNIFED = 10_000
"""Above so many images a score goes without its error: the matrices behind it outgrow a machine."""
HELDOUT_ROW = "held-out real images"
_WHITE = 255


@dataclass(frozen=True)
class ImageScores:
    """What images scored."""

    values: dict[str, float]
    """By metric name."""
    without_each: dict[str, list[float]] = field(default_factory=dict)
    """The values without each of the groups of images, by metric name: `jackknife.standard_error` reads them."""


_rows: ProcessCache[tuple[str, tuple[str, ...], int, tuple[str, ...], ReferenceStatistics | None], dict[str, dict[str, float]]]
_rows = ProcessCache("score rows")
"""By the image set's fingerprint, the features' variants, n, the metrics and the statistics compared with."""


class Scorer:
    """Scores images against one image set, on the features that an evaluation names. The set's features are made once, of which
    `read` hears; `cache` is where they are kept. `reference`: statistics that Frechet distances to the training split are to
    instead of it. ValueError: those are of other features or images."""

    def __init__(
        self,
        images: ImageSet,
        *,
        cache: str | None,
        features: FeaturesConfig = "efflite0",
        reference: ReferenceStatistics | None = None,
        read: Read = lambda _done, _of: None,
    ) -> None:
        self._images, self._features, self._reference = images, features, reference
        self._shape = images.read(images.heldout[:1]).shape[1:]
        self._networks = extractors_used(features)
        self._real = {
            name: references(images, under=name, cache=cache, features=features, read=read) for name in self._networks
        }
        if reference is not None:
            name = extractor_name(features)
            given = statistics_of(reference, extractor=variant_of(images, self._networks[name]), image_size=self._shape[-1])
            self._real[name] = compared_with(self._real[name], given)

    def score(self, generated: Tensor) -> dict[str, float]:
        """Scores of generated uint8 images [n, C, H, W], n >= 2, by metric name.

        ValueError: images of another shape than the set's, or fewer than 2. NotFinite: a score is not finite.
        """
        return self._values(self._embedded(generated), self._metrics(len(generated)))

    def of_features(self, features: Mapping[str, Tensor]) -> ImageScores:
        """The scores of n images by their features [n, d] from each extractor in use, with what their standard errors follow
        from. NotFinite: a score is not finite."""
        n = len(next(iter(features.values())))
        metrics = self._metrics(n)
        groups = torch.tensor(group_of(n), dtype=torch.int64)
        fit = 0 < len(groups) <= MOST_JACKKNIFED
        metrics_left = [metric for metric, _ in metrics if fit and metric.least_n <= n * 15 // 16]
        left_out = {metric.name: self._without_each(metric, features, groups) for metric in metrics_left}
        return ImageScores(self._values(features, metrics), left_out)

    def rows(self, n: int) -> dict[str, dict[str, float]]:
        """What n images that are no model's score: real held-out ones, white ones, and the training images' mean."""
        metrics = tuple(metric.name for metric, _ in self._metrics(n))
        variants = tuple(variant_of(self._images, network) for network in self._networks.values())
        key = (self._images.fingerprint, variants, n, metrics, self._reference)
        return _rows.get(key, make=lambda: self._made_rows(n))

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
        return self._values(features, [(metric, needs) for metric, needs in self._metrics(n) if needs.against != "heldout"])

    def _made_rows(self, n: int) -> dict[str, dict[str, float]]:
        alike = {
            "white images": torch.full((1, *self._shape), _WHITE, dtype=torch.uint8),
            "the mean image": to_pixels(mean_image(self._images)[None]),
        }
        return {HELDOUT_ROW: self.heldout_row(n), **{name: self._repeated(image, n) for name, image in alike.items()}}

    def _repeated(self, image: Tensor, n: int) -> dict[str, float]:
        """The scores of one image [1, C, H, W], n times."""
        features = {name: network.features(image).expand(n, -1) for name, network in self._networks.items()}
        return self._values(features, self._metrics(n))

    def _values(self, features: Mapping[str, Tensor], metrics: Iterable[tuple[Metric, Samples]]) -> dict[str, float]:
        real = self._real
        return _finite({m.name: m.of_samples(features[needs.extractor], real[needs.extractor]) for m, needs in metrics})

    def _without_each(self, metric: Metric, features: Mapping[str, Tensor], groups: Tensor) -> list[float]:
        assert isinstance(metric.needs, Samples)
        name = metric.needs.extractor
        return metric.without_each(features[name], self._real[name], groups)

    def _embedded(self, generated: Tensor) -> dict[str, Tensor]:
        if generated.ndim != 4 or generated.shape[1:] != self._shape or len(generated) < 2:
            rule = f"generated images must have shape [n, {', '.join(map(str, self._shape))}] with n >= 2"
            raise ValueError(f"{rule}, got {list(generated.shape)}")
        return {name: network.features(generated) for name, network in self._networks.items()}

    def _metrics(self, n: int) -> list[tuple[Metric, Samples]]:
        return of_samples(self._features, n=n)


def check_files(evaluation: EvaluationConfig, images: ImageSet) -> None:
    """That the files which an evaluation names are what it says, before anything is trained. ValueError: they are not."""
    for name, network in extractors_used(evaluation.features).items():
        network.features(images.read(images.heldout[:1]))
        if evaluation.reference is not None and name == extractor_name(evaluation.features):
            size = images.read(images.heldout[:1]).shape[-1]
            statistics_of(evaluation.reference, extractor=network.variant(size), image_size=size)


def score_network(grid: HeldOut, network: nn.Module, trial: TrialConfig) -> dict[str, float]:
    """Scores of a network without images, by metric name: those of its kind. NotFinite: it, or a score, is not finite."""
    own = NetworkAlone(trial.error_kind)
    metrics = [metric for metric in METRICS.values() if metric.needs == own and metric.least_heldout <= grid.images]
    with grid.one_pass():
        return _finite({metric.name: metric.of_network(grid, network, trial) for metric in metrics})


def of_samples(features: FeaturesConfig = "efflite0", *, n: int) -> list[tuple[Metric, Samples]]:
    """The metrics of n generated images that an evaluation has, each with what it needs."""
    return [(metric, metric.needs) for metric in metrics_under(features, n=n) if isinstance(metric.needs, Samples)]


def extractors_used(features: FeaturesConfig = "efflite0") -> dict[str, Extractor]:
    """The extractors that some metric of an evaluation needs, by name."""
    needed = {extractor_name(features): None} | {needs.extractor: None for _, needs in of_samples(features, n=MOST_JACKKNIFED)}
    return {name: extractor(name, features) for name in needed}


def _finite(scores: dict[str, float]) -> dict[str, float]:
    bad = [name for name, score in scores.items() if not math.isfinite(score)]
    if bad:
        raise NotFinite(f"a score must be finite, got {', '.join(bad)} that is not")
    return scores
