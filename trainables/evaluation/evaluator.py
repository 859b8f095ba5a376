"""Scores of trained weights outside their trial: of any evaluation, as often as it is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_heldout, check_sampling
from trainables.config.features import FeaturesConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.errors import DataError
from trainables.evaluation.collapse import has_collapsed
from trainables.evaluation.finite import require_finite
from trainables.evaluation.generate import generate, sample_labels
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.evaluation.score import HELDOUT_ROW, ImageScores, Scorer, score_network
from trainables.networks.network import Network
from trainables.networks.registry import blank

Weights = Mapping[str, Mapping[str, Tensor]]
"""Parameters by name, by the name of the weights: `raw`, or an average's."""


@dataclass(frozen=True)
class Evaluation:
    """What weights score by one evaluation."""

    scores: ImageScores
    heldout: dict[str, float]
    """Of as many real held-out images."""
    rows: dict[str, dict[str, float]]
    """Of as many images that are no model's, by what they are."""
    collapsed: bool


class Evaluator:
    """Scores the weights of one trial against one image set, on a GPU where there is one and the trial trained on one.

    `cache`: folder or URI where the real images' features are kept; `read` hears how many have been computed, and of how many.
    DataError: the images are not of the size and channels that the network takes.
    """

    def __init__(
        self,
        trial: TrialConfig,
        weights: Weights,
        images: ImageSet,
        *,
        cache: str | None,
        read: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        self._trial, self._weights, self._images = trial, weights, images
        self._cache, self._read = cache, read
        self._scorers: dict[FeaturesConfig, Scorer] = {}
        self._device = torch.device("cuda" if trial.device == "cuda" and torch.cuda.is_available() else "cpu")
        wanted, got = (trial.data.channels, trial.data.image_size, trial.data.image_size), _shape(images)
        if wanted != got:
            size = "x".join(map(str, wanted))
            raise DataError(f"the images must be {size}, as the network takes them, got {'x'.join(map(str, got))}; give others")

    def evaluate(self, evaluation: EvaluationConfig, *, drawn: Callable[[int], None] = lambda _: None) -> Evaluation:
        """The scores of samples drawn now, and of the network without samples.

        ValueError: it cannot be scored so. NotFinite: weights, samples or a score are no finite numbers.
        """
        network = self._network(evaluation.weights)
        of_images = self.scored(self.sampled(evaluation, drawn=drawn), evaluation)
        values = of_images.values | score_network(self._grid, network, self._trial)
        rows = dict(self._scorer(evaluation.features).rows(evaluation.n))
        collapsed = has_collapsed(values, mean_image_error=self._grid.mean_image_error)
        return Evaluation(ImageScores(values, of_images.without_each), rows.pop(HELDOUT_ROW), rows, collapsed)

    def sampled(self, evaluation: EvaluationConfig, *, drawn: Callable[[int], None] = lambda _: None) -> Tensor:
        """uint8 images [n, C, H, W]."""
        check_sampling(self._trial.diffusion, evaluation, num_classes=self._trial.data.num_classes)
        check_heldout(evaluation, heldout=len(self._images.heldout))
        labels = sample_labels(self._images, evaluation)
        return generate(self._network(evaluation.weights), self._trial, evaluation, labels, drawn=drawn)

    def scored(self, samples: Tensor, evaluation: EvaluationConfig) -> ImageScores:
        """The scores of images, with what their errors follow from."""
        return self._scorer(evaluation.features).score_with_errors(samples)

    @cached_property
    def _grid(self) -> HeldoutGrid:
        return HeldoutGrid(self._images, device=self._device)

    @cached_property
    def _blank(self) -> Network:
        return blank(self._trial).to(self._device).eval()

    def _network(self, weights: str) -> Network:
        """The network with the weights of this name. ValueError: they are not its own. NotFinite: they are no numbers."""
        parameters = self._weights[weights]
        for name, values in parameters.items():
            require_finite(values, what=f"the weights {name}")
        try:
            self._blank.load_state_dict(dict(parameters))
        except RuntimeError as error:
            raise ValueError(f"weights must fit the network that they are of: {error}") from error
        return self._blank

    def _scorer(self, features: FeaturesConfig) -> Scorer:
        if features not in self._scorers:
            self._scorers[features] = Scorer(self._images, cache=self._cache, features=features, read=self._read)
        return self._scorers[features]


def _shape(images: ImageSet) -> tuple[int, ...]:
    return tuple(images.read(images.train[:1]).shape[1:])
