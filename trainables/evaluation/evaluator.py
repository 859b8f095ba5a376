"""Scores of trained weights outside their trial: of any evaluation, as often as it is asked."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_draws, check_guide, check_heldout, check_sampling
from trainables.config.features import FeaturesConfig, ReferenceStatistics, extractor_name
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.errors import DataError
from trainables.evaluation.collapse import has_collapsed
from trainables.evaluation.features.registry import extractor
from trainables.evaluation.finite import require_finite
from trainables.evaluation.generate import batches, drawing, generate
from trainables.evaluation.grid import write_grid
from trainables.evaluation.held_out import HeldOut, held_out
from trainables.evaluation.neighbours import nearest
from trainables.evaluation.reference import references
from trainables.evaluation.score import HELDOUT_ROW, ImageScores, Scorer, extractors_used, score_network
from trainables.methods.guiding import guide_of
from trainables.methods.registry import method_of
from trainables.networks.network import Network, Space, of_model
from trainables.networks.registry import blank_model

COLUMNS, ROWS = 8, 8
"""Of a picture."""
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

    `cache`: folder or URI where the real images' features are kept, and classifiers that guide lie; `read` hears how many
    features have been computed, and of how many.
    DataError: the images are not of the size, channels and classes that the network takes.
    """

    def __init__(
        self,
        trial: TrialConfig,
        weights: Weights,
        images: ImageSet,
        *,
        cache: str | None,
        space: Callable[[torch.device], Space] | None = None,
        guide: Network | None = None,
        read: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        """`space`: of a latent trial, what its network sees, on a device; `guide`: a classifier at hand, for evaluations that
        name it; others lie in `cache`."""
        self._own_guide = guide
        self._trial, self._weights, self._images, self._space = trial, weights, images, space
        self._cache, self._read = cache, read
        self._scorers: dict[tuple[FeaturesConfig, ReferenceStatistics | None], Scorer] = {}
        self._device = torch.device("cuda" if trial.device == "cuda" and torch.cuda.is_available() else "cpu")
        wanted, got = (trial.data.channels, trial.data.image_size, trial.data.image_size), _shape(images)
        if wanted != got:
            size = "x".join(map(str, wanted))
            raise DataError(f"the images must be {size}, as the network takes them, got {'x'.join(map(str, got))}; give others")
        self._check_labels()

    def _check_labels(self) -> None:
        known, highest = self._trial.data.num_classes, int(self._images.labels(self._images.train).max())
        if highest >= known:
            rule = f"the images must be of the {known} classes that the network knows, 0..{known - 1}"
            raise DataError(f"{rule}, got label {highest}; give images of its own classes, numbered as it was trained on them")

    def evaluate(self, evaluation: EvaluationConfig, *, drawn: Callable[[int], None] = lambda _: None) -> Evaluation:
        """The scores of samples drawn now, and of the network without samples.

        ValueError: it cannot be scored so. NotFinite: weights, samples or a score are no finite numbers.
        """
        network = self._network(evaluation.weights)
        if not self._trial.draws:
            alone = ImageScores(score_network(self._grid, network, self._trial))
            return Evaluation(alone, heldout={}, rows={}, collapsed=False)
        of_images = self._scorer(evaluation).of_features(self._features(evaluation, drawn))
        values = of_images.values | score_network(self._grid, network, self._trial)
        rows = dict(self._scorer(evaluation).rows(evaluation.n))
        collapsed = has_collapsed(values, mean_image_error=self._grid.mean_image_error)
        return Evaluation(ImageScores(values, of_images.without_each), rows.pop(HELDOUT_ROW), rows, collapsed)

    def samples(self, evaluation: EvaluationConfig, *, drawn: Callable[[int], None] = lambda _: None) -> Iterator[Tensor]:
        """Images drawn now, batch by batch, uint8 [b, C, H, W]."""
        check_draws(self._trial, asked="samples are")
        check_sampling(self._trial.diffusion, evaluation, num_classes=self._trial.data.num_classes)
        check_heldout(evaluation, heldout=len(self._images.heldout))
        network, begun = self._network(evaluation.weights), method_of(self._trial).starts(self._trial, self._images, evaluation)
        with drawing(network, self._trial, evaluation, begun, guide=self._guide(evaluation)) as batch:
            for place in batches(self._trial, begun, device=self._device):
                yield batch(place, partial(_tell, place, evaluation.steps, drawn))

    def draw_pictures(self, evaluation: EvaluationConfig, folder: str) -> dict[str, str]:
        """Write three pictures below a folder or URI and say where: `samples`, the first of the evaluation; `classes`, a row a
        class of up to `ROWS` that the images have; `neighbours`, samples and below each the training image that is nearest in
        features."""
        begun = method_of(self._trial).starts(self._trial, self._images, evaluation)[: COLUMNS * ROWS]
        samples = self._generated(evaluation, begun)
        name = extractor_name(evaluation.features)
        features = extractor(name, evaluation.features).features(samples[:COLUMNS])
        real = references(self._images, under=name, cache=self._cache, features=evaluation.features, read=self._read)
        nearest_of = self._images.train[nearest(features, real.train.features).numpy()]
        pictures = {
            "samples": samples,
            "classes": self._by_class(evaluation),
            "neighbours": torch.cat((samples[:COLUMNS].cpu(), self._images.read(nearest_of))),
        }
        addresses = {picture: f"{folder.rstrip('/')}/{picture}.png" for picture in pictures}
        for picture, images in pictures.items():
            write_grid(images, addresses[picture], columns=min(COLUMNS, len(samples)))
        return addresses

    def _by_class(self, evaluation: EvaluationConfig) -> Tensor:
        """`COLUMNS` samples of each class, uint8 [k, C, H, W]: of the same noise in every row, or of its held-out images."""
        classes = self._images.labels(self._images.train).unique()[:ROWS]
        rows, method, count = [], method_of(self._trial), min(COLUMNS, evaluation.n)
        for label in classes:
            begun = method.starts_of_class(self._trial, self._images, int(label), count=count)
            rows.append(self._generated(evaluation, begun))
        return torch.cat(rows)

    def _generated(self, evaluation: EvaluationConfig, begun: Tensor) -> Tensor:
        return generate(self._network(evaluation.weights), self._trial, evaluation, begun, guide=self._guide(evaluation))

    def _guide(self, evaluation: EvaluationConfig) -> Network | None:
        named, own = evaluation.guide, self._own_guide
        if named is not None and own is not None and own.trial.id == named.trial:
            check_guide(self._trial, own.trial)
            return own.to(self._device)
        return guide_of(evaluation, self._trial, storage=self._cache, device=self._device)

    def _features(self, evaluation: EvaluationConfig, drawn: Callable[[int], None]) -> dict[str, Tensor]:
        """The features of the samples, float32 [n, d] by extractor."""
        networks = extractors_used(evaluation.features)
        parts = [
            {name: network.features(batch) for name, network in networks.items()}
            for batch in self.samples(evaluation, drawn=drawn)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in networks}

    @cached_property
    def _grid(self) -> HeldOut:
        return held_out(self._trial, self._images, space=self._blank.space, device=self._device)

    @cached_property
    def _blank(self) -> Network:
        network = blank_model(self._trial).to(self._device).eval()
        if self._space is not None:
            network.space = self._space(self._device)
        return network

    def _network(self, weights: str) -> Network:
        """The network with the weights of this name. ValueError: they are not its own. NotFinite: they are no numbers."""
        parameters = self._weights[weights]
        for name, values in parameters.items():
            require_finite(values, what=f"the weights {name}")
        try:
            self._blank.load_state_dict(of_model(parameters))
        except RuntimeError as error:
            raise ValueError(f"weights must fit the network that they are of: {error}") from error
        return self._blank

    def _scorer(self, evaluation: EvaluationConfig) -> Scorer:
        key = features, reference = evaluation.features, evaluation.reference
        if key not in self._scorers:
            self._scorers[key] = Scorer(
                self._images, cache=self._cache, features=features, reference=reference, read=self._read
            )
        return self._scorers[key]


def _tell(place: slice, steps: int, drawn: Callable[[int], None], done: int) -> None:
    """How many images that is so far, a batch under way counted by its steps."""
    drawn(place.start + (place.stop - place.start) * done // steps)


def _shape(images: ImageSet) -> tuple[int, ...]:
    return tuple(images.read(images.train[:1]).shape[1:])
