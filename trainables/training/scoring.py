"""The scores of a trial's network: at its rungs, and by every evaluation at its end."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from trainables.assignment import Assignment
from trainables.config.average import RAW
from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import FeaturesConfig, ReferenceStatistics
from trainables.data import ImageSet
from trainables.evaluation.collapse import has_collapsed
from trainables.evaluation.grid import scatter, write_grid
from trainables.evaluation.held_out import held_out
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRIC, RUNG_METRICS, NetworkAlone, parse
from trainables.evaluation.score import HELDOUT_ROW, ImageScores, Scorer, score_network
from trainables.methods.guiding import guide_of
from trainables.methods.registry import method_of
from trainables.report import Rung, Scored
from trainables.storage.folder import Folder
from trainables.training.drawing import Drawn, KeptSamples, draw
from trainables.training.learner import Learner
from trainables.training.telling import Telling
from trainables.training.workers import Workers

GRID_COLUMNS = 8


class Sampled(NamedTuple):
    """Samples of one set of weights at one image count."""

    weights: str
    drawn: Drawn
    kept: KeptSamples


class Scoring:
    """The scores of one learner's weights as they are whenever it is asked; every worker of a group asks alike.

    Samples are drawn from equal noise and labels over all trials, by all workers, and the lead compares them. `telling` hears
    how far they are. NotFinite: the weights have diverged. Interrupted: `interrupted`, read before every round of samples,
    returned true.
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
        self._grid = held_out(self._trial, images, space=learner.network.space, device=learner.device)
        self._sampled: dict[tuple[int, str, str], Sampled] = {}
        self._scorers: dict[tuple[FeaturesConfig, ReferenceStatistics | None], Scorer] = {}

    def rung(self) -> Rung:
        """The held-out error of its kind, and what rungs compare where that is something else."""
        own = RUNG_METRICS[self._trial.error_kind]
        values = {own: self._of_network(own, self._trial.rung_weights)}
        raw_values: dict[str, float] = {}
        metric, weights = parse(self._assignment.rung_metric)
        if (metric, weights) not in ((RUNG_METRIC, "evaluated"), (own, "evaluated")):
            (raw_values if weights == "raw" else values)[metric] = self._compared(metric, raw=weights == "raw")
        return Rung(images=self._learner.images, values=values, raw_values=raw_values)

    def score(self, evaluation: EvaluationConfig, *, grid: str) -> Scored:
        """The scores of the evaluation's weights and of the raw ones; writes the former's first samples as a picture to
        `grid`, a path or URI, where samples are drawn."""
        if not self._trial.draws:
            return self._workers.awaited(lambda: self._scored_alone(evaluation))
        of = evaluation.n * len({RAW, evaluation.weights})
        raw = self._drawn(evaluation, RAW, of=of)
        own = self._drawn(evaluation, evaluation.weights, before=of - evaluation.n, of=of)
        return self._workers.awaited(lambda: self._scored(evaluation, own, raw, grid=grid))

    def _scored(self, evaluation: EvaluationConfig, own: Sampled, raw: Sampled, *, grid: str) -> Scored:
        scores, raw_scores = self._measured(evaluation, own), self._measured(evaluation, raw)
        rows = dict(self._scorer(evaluation).rows(evaluation.n))
        points = own.drawn.features.get("points")
        picture, columns = (own.drawn.samples, GRID_COLUMNS) if points is None else (scatter(points), 1)
        write_grid(picture, grid, columns=columns)
        for each in (own, raw):
            each.kept.forget()
        return Scored(
            images=self._learner.images,
            evaluation=evaluation.id,
            n=evaluation.n,
            values=scores.values,
            raw_values=raw_scores.values,
            without_each=scores.without_each,
            raw_without_each=raw_scores.without_each,
            heldout=rows.pop(HELDOUT_ROW),
            rows=rows,
            grid=grid,
            collapsed=has_collapsed(scores.values, mean_image_error=self._grid.mean_image_error),
        )

    def _scored_alone(self, evaluation: EvaluationConfig) -> Scored:
        """The scores of networks that draw nothing."""
        return Scored(
            images=self._learner.images,
            evaluation=evaluation.id,
            n=evaluation.n,
            values=self._all_of_network(evaluation.weights),
            raw_values=self._all_of_network(RAW),
            grid="",
        )

    def _compared(self, metric: str, *, raw: bool) -> float:
        """What rungs compare. Where it needs samples they are drawn now, as the first evaluation says."""
        if isinstance(METRICS[metric].needs, NetworkAlone):
            return self._of_network(metric, RAW if raw else self._trial.rung_weights)
        evaluation = self._assignment.evaluations[0]
        sampled = self._drawn(evaluation, RAW if raw else evaluation.weights, of=evaluation.n)
        scores = self._workers.awaited(lambda: self._measured(evaluation, sampled))
        sampled.kept.forget()
        return scores.values[metric]

    def _of_network(self, metric: str, weights: str) -> float:
        with self._learner.averages.swapped(weights):
            return METRICS[metric].of_network(self._grid, self._learner.network, self._trial)

    def _drawn(self, evaluation: EvaluationConfig, weights: str, *, before: int = 0, of: int) -> Sampled:
        """Samples of the weights of this name as they are now; once for evaluations alike but for theirs. `of` images are to be
        drawn in all, and `before` have been."""

        def drawn(images: int) -> None:
            self._telling("drawing samples", before + images, of)

        key = (self._learner.images, weights, evaluation.model_copy(update={"weights": weights}).id)
        if key not in self._sampled:
            kept = self._kept(*key)
            with self._learner.averages.swapped(weights):
                drawn(0)
                found = draw(
                    self._learner.network,
                    self._trial,
                    evaluation,
                    method_of(self._trial).starts(self._trial, self._images, evaluation),
                    workers=self._workers,
                    kept=kept,
                    interrupted=self._interrupted,
                    drawn=drawn,
                    guide=guide_of(evaluation, self._trial, storage=self._assignment.storage, device=self._learner.device),
                )
            # Weights of earlier are never asked for again.
            now = {known: sampled for known, sampled in self._sampled.items() if known[0] == self._learner.images}
            self._sampled = {**now, key: Sampled(weights, found, kept)}
        return self._sampled[key]

    def _kept(self, images: int, weights: str, evaluation: str) -> KeptSamples:
        name = f"trials/{self._trial.id}/drawn/{images:012d}-{weights}-{evaluation}"
        return KeptSamples(Folder(self._assignment.storage), name, self._assignment.checkpoint_interval_s)

    def _measured(self, evaluation: EvaluationConfig, sampled: Sampled) -> ImageScores:
        """The scores of samples and of the network that drew them."""
        of_images = self._scorer(evaluation).of_features(sampled.drawn.features)
        return ImageScores(of_images.values | self._all_of_network(sampled.weights), of_images.without_each)

    def _all_of_network(self, weights: str) -> dict[str, float]:
        with self._learner.averages.swapped(weights):
            return score_network(self._grid, self._learner.network, self._trial)

    def _scorer(self, evaluation: EvaluationConfig) -> Scorer:
        """Made on first use: only the lead has the real images' features."""
        key = features, reference = evaluation.features, evaluation.reference
        if key not in self._scorers:
            read = partial(self._telling, "reading the real images' features")
            cache = self._assignment.storage
            self._scorers[key] = Scorer(self._images, cache=cache, features=features, reference=reference, read=read)
        return self._scorers[key]
