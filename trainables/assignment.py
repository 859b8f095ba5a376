"""What a trainer is given besides the trial itself: how far to go, how to score it, and where its files lie."""

from typing import Self

from pydantic import model_validator

from trainables.config.budget_rules import check_budget
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_draws, check_evaluation
from trainables.config.fields import (
    Frozen,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from trainables.config.trial import TrialConfig
from trainables.data.holdout import Holdout
from trainables.evaluation.metrics.registry import RUNG_METRIC, MetricName, Samples, check_scored, metric_of


class Assignment(Frozen):
    """One piece of work for a trainer: bring this trial to `images` and score it there."""

    trial: TrialConfig
    images: PositiveInt
    """Images to have trained on at the end."""
    evaluations: tuple[EvaluationConfig, ...] = (EvaluationConfig(),)
    scores: bool = True
    """Whether to score it at its end; else it ends as trained, and is scored by who is given it again."""
    rungs: tuple[PositiveInt, ...] = ()
    """Image counts at which the held-out error is measured and the consumer asked whether to go on."""
    resume_from: NonNegativeInt = 0
    """Images that a checkpoint must have at least: a trial that was finished before is gone on with, never trained again."""
    rung_metric: MetricName = RUNG_METRIC
    """What rungs compare. Where it is the score of samples, they are drawn at every rung as the first evaluation says."""
    data: str = "emoji32"
    """A packaged set's name, or the URI of a file that a reader takes."""
    holdout: Holdout | None = None
    """Held-out images to split off where the file brings no list of its own."""
    storage: str
    """Folder or URI below which checkpoints and sample grids are written."""
    micro_batch: PositiveInt | None = None
    """Images a worker holds at once; None: as many of its share as `memory_bytes` holds."""
    activation_checkpointing: bool | None = None
    """Recompute a block's activations in the backward pass instead of keeping them; None: only where memory asks for it."""
    memory_bytes: PositiveInt | None = None
    """Memory of a worker; None: its GPU's own, and no limit on a CPU."""
    checkpoint_interval_s: PositiveFloat = 60.0
    """Most seconds of work that a lost worker costs."""

    @model_validator(mode="after")
    def rungs_of_samples_have_an_evaluation(self) -> Self:
        if self.rungs and not self.evaluations and isinstance(metric_of(self.rung_metric).needs, Samples):
            rule = "`evaluations` must say how samples are drawn where rungs compare their score"
            raise ValueError(f"{rule}, got none for rung_metric={self.rung_metric}; give one, or try {RUNG_METRIC}")
        if self.rungs and isinstance(metric_of(self.rung_metric).needs, Samples):
            check_draws(self.trial, asked=f"`rung_metric` {self.rung_metric} is")
        if self.rungs and self.evaluations:
            check_scored(self.rung_metric, self.evaluations[0].features, n=self.evaluations[0].n)
        return self

    @model_validator(mode="after")
    def images_are_whole_batches(self) -> Self:
        batch = self.trial.batch_size
        if self.images % batch:
            rule = "`images` must be a multiple of batch_size"
            raise ValueError(f"{rule}, got images={self.images}, batch_size={batch}; try {-(-self.images // batch) * batch}")
        return self

    @model_validator(mode="after")
    def images_end_with_the_schedule(self) -> Self:
        schedule = self.trial.optimiser.schedule
        if schedule.kind == "cosine" and self.images > (schedule.total_images or 0):
            rule = "`images` must be at most the cosine's total_images, where its rate ends"
            raise ValueError(f"{rule}, got images={self.images}, total_images={schedule.total_images}")
        return self

    @model_validator(mode="after")
    def the_budget_reaches_the_rate(self) -> Self:
        check_budget(self.trial, images=self.images)
        return self

    @model_validator(mode="after")
    def evaluations_read_trained_weights(self) -> Self:
        for evaluation in self.evaluations:
            check_evaluation(self.trial, evaluation, images=self.images)
        return self
