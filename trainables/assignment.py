"""What a trainer is given besides the trial itself: how far to go, how to score it, and where its files lie."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainables.config import RAW, TrialConfig
from trainables.fields import Fraction, Frozen, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, content_hash
from trainables.metrics import METRICS, RUNG_METRIC


class Sampling(Frozen):
    """How samples are drawn and counted."""

    n: Annotated[int, Field(ge=2, strict=True)] = 384
    """Generated images a score is computed from."""
    sampler: Literal["euler", "heun"] = "heun"
    steps: PositiveInt = 50
    guidance: NonNegativeFloat = 1.0
    """Classifier-free guidance scale; 1 is off."""
    interval: tuple[NonNegativeFloat, NonNegativeFloat] = (0.1, 1.0)
    """The times t at which guidance acts: low < t < high (arXiv 2404.07724)."""
    shift: Annotated[float, Field(ge=1e-3, le=1e3, strict=True)] = 1.0
    """Time shift k of the steps: equally spaced s become t = s / (s + (1 - s) k). Above 1 they are denser near the noise."""
    seed: NonNegativeInt = 0
    """Of the starting noise and labels."""

    @model_validator(mode="after")
    def interval_is_ordered(self) -> Self:
        low, high = self.interval
        if low >= high:
            raise ValueError(f"`interval` must be (low, high) with low < high, got {low}, {high}")
        return self


class EvaluationConfig(Sampling):
    """How a trial is scored; equal for all trials of a comparison."""

    t_eps_sample: Fraction = 0.05
    """The clamp on 1 - t (and t) while sampling; 0 is off."""
    weights: str = "ema"
    """An average of the trial by its name, or `raw`."""

    @property
    def id(self) -> str:
        return content_hash(self.model_dump(mode="json"))


class Assignment(Frozen):
    """One piece of work for a trainer: bring this trial to `images` and score it there."""

    trial: TrialConfig
    images: PositiveInt
    """Images to have trained on at the end."""
    evaluations: tuple[EvaluationConfig, ...] = (EvaluationConfig(),)
    rungs: tuple[PositiveInt, ...] = ()
    """Image counts at which the held-out error is measured and the consumer asked whether to go on."""
    resume_from: NonNegativeInt = 0
    """Images that a checkpoint must have at least: a trial that was finished before is gone on with, never trained again."""
    rung_metric: str = RUNG_METRIC
    """What rungs compare. Where it is the score of samples, they are drawn at every rung as the first evaluation says."""
    data: str = "emoji32"
    """A packaged set's name, or the URI of an .npz file."""
    holdout: PositiveInt | None = None
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

    @field_validator("rung_metric")
    @classmethod
    def rung_metric_is_registered(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"`rung_metric` must be a registered metric: {', '.join(METRICS)}, got {name!r}")
        return name

    @model_validator(mode="after")
    def rungs_of_samples_have_an_evaluation(self) -> Self:
        if self.rungs and not self.evaluations and self.rung_metric not in (RUNG_METRIC, f"{RUNG_METRIC}_{RAW}"):
            rule = "`evaluations` must say how samples are drawn where rungs compare their score"
            raise ValueError(f"{rule}, got none for rung_metric={self.rung_metric}; give one, or try {RUNG_METRIC}")
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
