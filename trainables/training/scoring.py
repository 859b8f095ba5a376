"""The scores of a trial's network: at its rungs, and by every evaluation at its end."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import FeaturesConfig
from trainables.config.trial import RAW
from trainables.data import ImageSet
from trainables.evaluation.collapse import has_collapsed
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import Interrupted, generate, sample_labels
from trainables.evaluation.grid import write_grid
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRIC, NetworkAlone, parse
from trainables.evaluation.score import HELDOUT_ROW, Scorer, score_network
from trainables.report import Rung, Scored
from trainables.training.learner import Learner
from trainables.training.telling import Telling
from trainables.training.workers import Workers

GRID_IMAGES = 32
GRID_COLUMNS = 8


class Measurement(NamedTuple):
    """The scores and first samples of one set of weights at one image count."""

    values: dict[str, float]
    """By metric name."""
    without_each: dict[str, list[float]]
    """The values without each group of the images, by metric name."""
    samples: Tensor
    """The first generated images, uint8 [k, C, H, W], to show."""


class Scoring:
    """The scores of one learner's weights as they are whenever it is asked.

    Samples are drawn from equal noise and labels over all trials. `telling` hears how far they are. NotFinite: the weights have
    diverged. Interrupted: `interrupted`, read before every batch of samples, returned true.
    """

    def __init__(
        self,
        assignment: Assignment,
        learner: Learner,
        images: ImageSet,
        *,
        workers: Workers,
        interrupted: Callable[[], bool],
        telling: Telling,
    ) -> None:
        self._assignment, self._trial = assignment, assignment.trial
        self._learner, self._images = learner, images
        self._workers, self._interrupted, self._telling = workers, interrupted, telling
        self._grid = HeldoutGrid(images, device=learner.device)
        self._measured: dict[tuple[int, str, str], Measurement] = {}
        self._scorers: dict[FeaturesConfig, Scorer] = {}

    def rung(self) -> Rung:
        """The held-out error, and what rungs compare where that is something else; every worker of a group takes part."""
        values = {RUNG_METRIC: self._of_network(RUNG_METRIC, self._trial.rung_weights)}
        raw_values: dict[str, float] = {}
        metric, weights = parse(self._assignment.rung_metric)
        if (metric, weights) != (RUNG_METRIC, "evaluated"):
            (raw_values if weights == "raw" else values)[metric] = self._compared(metric, raw=weights == "raw")
        return Rung(images=self._learner.images, values=values, raw_values=raw_values)

    def score(self, evaluation: EvaluationConfig, *, grid: str) -> Scored:
        """The scores of the evaluation's weights and of the raw ones; writes the former's first samples as a picture to
        `grid`, a path or URI."""
        of = evaluation.n * len({RAW, evaluation.weights})
        raw = self._measure(evaluation, RAW, of=of)
        own = self._measure(evaluation, evaluation.weights, before=of - evaluation.n, of=of)
        rows = dict(self._scorer(evaluation).rows(evaluation.n))
        write_grid(own.samples, grid, columns=GRID_COLUMNS)
        return Scored(
            images=self._learner.images,
            evaluation=evaluation.id,
            n=evaluation.n,
            values=own.values,
            raw_values=raw.values,
            without_each=own.without_each,
            raw_without_each=raw.without_each,
            heldout=rows.pop(HELDOUT_ROW),
            rows=rows,
            grid=grid,
            collapsed=has_collapsed(own.values, mean_image_error=self._grid.mean_image_error),
        )

    def _compared(self, metric: str, *, raw: bool) -> float:
        """What rungs compare. Where it needs samples the lead draws them for every worker, and what ends the trial there ends
        it everywhere."""
        if isinstance(METRICS[metric].needs, NetworkAlone):
            return self._of_network(metric, RAW if raw else self._trial.rung_weights)
        answer = self._workers.agree(self._sampled(metric, raw=raw) if self._workers.lead else 0.0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _sampled(self, metric: str, *, raw: bool) -> float | Interrupted | NotFinite:
        """The score of samples drawn now as the first evaluation says, or what it raised, for every worker to raise."""
        evaluation = self._assignment.evaluations[0]
        try:
            return self._measure(evaluation, RAW if raw else evaluation.weights, of=evaluation.n).values[metric]
        except (Interrupted, NotFinite) as instead:
            return instead

    def _of_network(self, metric: str, weights: str) -> float:
        with self._learner.averages.swapped(weights):
            return METRICS[metric].of_network(self._grid, self._learner.network, self._trial)

    def _measure(self, evaluation: EvaluationConfig, weights: str, *, before: int = 0, of: int) -> Measurement:
        """Scores of the weights of this name as they are now; once for evaluations alike but for theirs. `of` images are to be
        drawn in all, and `before` have been."""

        def drawn(images: int) -> None:
            self._telling("drawing samples", before + images, of)

        key = (self._learner.images, weights, evaluation.model_copy(update={"weights": weights}).id)
        if key not in self._measured:
            network, labels = self._learner.network, sample_labels(self._images, evaluation)
            with self._learner.averages.swapped(weights):
                drawn(0)
                samples = generate(network, self._trial, evaluation, labels, interrupted=self._interrupted, drawn=drawn)
                of_images = self._scorer(evaluation).score_with_errors(samples)
                values = of_images.values | score_network(self._grid, network, self._trial)
            self._measured[key] = Measurement(values, of_images.without_each, samples[:GRID_IMAGES].clone())
        return self._measured[key]

    def _scorer(self, evaluation: EvaluationConfig) -> Scorer:
        """Made on first use: only the lead has the real images' features."""
        features = evaluation.features
        if features not in self._scorers:
            read = partial(self._telling, "reading the real images' features")
            cache = self._assignment.storage
            self._scorers[features] = Scorer(self._images, cache=cache, features=features, read=read)
        return self._scorers[features]
