"""How a trial is scored: how samples are drawn, from which weights, and how many."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from trainables.config.features import FeaturesConfig, ReferenceStatistics
from trainables.config.fields import (
    JOINED_LATER,
    Fraction,
    Frozen,
    JoinedLater,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    content_hash,
    identity,
    without,
)
from trainables.config.stage_arm import StageArm, names_a_stage

Time = Annotated[NonNegativeFloat, Field(le=1)]
Labels = Literal["proportional", "drawn"]
RECORDED: dict[str, Any] = {"labels": "drawn"}
"""What is meant where a record of an evaluation leaves a setting out: it was written before the setting joined."""


_OF_A_HEAD = frozenset({"temperature", "head_steps", "token_limit"})
_OF_A_FLOW = frozenset({"sampler", "guidance_channels", "interval", "shift", "t_eps_sample", "classifier", "classifier_scale"})
_OF_NOISE = frozenset({"steps", "guidance"})
_UNREAD = {
    "masked_tokens": _OF_A_FLOW,
    "autoencoder": _OF_A_HEAD | _OF_A_FLOW | _OF_NOISE,
    "classifier": _OF_A_HEAD | _OF_A_FLOW | _OF_NOISE,
    "encoder_pretraining": _OF_A_HEAD | _OF_A_FLOW | _OF_NOISE,
}


def unread(method: str) -> frozenset[str]:
    """The settings of an evaluation that change nothing of a trial of this kind of `method`."""
    return _UNREAD.get(method, _OF_A_HEAD)


class GuidingClassifier(Frozen):
    """A trial of `method` classifier, on the same images and with the same noise, that has a checkpoint in the storage."""

    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """Its id."""
    images: PositiveInt
    """The image count of the checkpoint, whose weights are those that stand at its rungs."""


class StageClassifier(StageArm):
    """What an earlier stage of the sweep trains."""


AnyClassifier = Annotated[
    Annotated[GuidingClassifier, Tag("trial")] | Annotated[StageClassifier, Tag("stage")], Discriminator(names_a_stage)
]


class Sampling(Frozen):
    """How samples are drawn and counted."""

    n: Annotated[int, Field(ge=2, le=10_000_000, strict=True)] = 384
    """Generated images a score is computed from."""
    sampler: Literal["euler", "heun"] = "heun"
    """First-order (one network pass a step) or second-order (two) integration."""
    steps: Annotated[PositiveInt, Field(le=10_000)] = 50
    """Steps of the sampler."""
    guidance: Annotated[NonNegativeFloat, Field(le=1000)] = 1.0
    """Classifier-free guidance scale; 1 is off."""
    guidance_channels: Annotated[PositiveInt | None, JOINED_LATER] = None
    """The first channels, of pixels or codes, that `guidance` changes, as samplers of DiT and LightningDiT do with 3; the
    others are as the class has them. null: all."""
    interval: tuple[Time, Time] = (0.1, 1.0)
    """The times t at which guidance of either kind acts: low < t < high (arXiv 2404.07724)."""
    classifier: Annotated[AnyClassifier | None, JOINED_LATER] = None
    """What guides samples to their classes by its gradient (ADM, arXiv 2105.05233), beside `guidance` or instead of it; null:
    nothing."""
    classifier_scale: Annotated[NonNegativeFloat, Field(le=1000), JOINED_LATER] = 1.0
    """How strongly it does; 0 is off."""
    shift: Annotated[float, Field(ge=1e-3, le=1e3, strict=True)] = 1.0
    """Time shift k of the steps: equally spaced s become t = s / (s + (1 - s) k). Above 1 they are denser near the noise."""
    seed: NonNegativeInt = 0
    """Of the starting noise and labels."""
    labels: Annotated[Labels, JoinedLater(was=("drawn",))] = "proportional"
    """The classes of the samples: in the training images' proportions to the image, which are equal numbers a class of an even
    set; or drawn one by one in them, whose luck is noise in every score. Sweeps of before this key drew."""
    temperature: Annotated[NonNegativeFloat, Field(le=10), JOINED_LATER] = 1.0
    """What the noise of the head's steps is multiplied by; only masked tokens (`method` masked_tokens) have such a head."""
    head_steps: Annotated[PositiveInt, Field(ge=2, le=1_000), JOINED_LATER] = 100
    """Steps by which such a head draws a token, of the 1,000 of its training; `steps` are those of the image."""
    token_limit: Annotated[Annotated[PositiveFloat, Field(le=1_000)] | None, JOINED_LATER] = None
    """The largest number of the clean token that each of these steps finds, such as 3: of codes in their standard deviations,
    of pixels 1 where none is given. A head of a short training finds far larger ones. null: codes have no bound, as in MAR."""

    features: Annotated[FeaturesConfig, JOINED_LATER] = "efflite0"
    """The network on whose features images are compared: the packaged one, or one whose weights you have in a file."""
    reference: Annotated[ReferenceStatistics | None, JOINED_LATER] = None
    """What Frechet distances to the training split are to instead of it, such as published statistics of a data set; all other
    metrics stay with the sweep's own images. null: the training split."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Without a classifier that does not act."""
        acts = self.classifier is not None and self.classifier_scale
        return content if acts else without(content, {"classifier", "classifier_scale"})

    def placed(self, located: Callable[[str], str]) -> Self:
        """The same with its files where `located` says that their addresses are."""
        features, reference = self.features, self.reference
        if not isinstance(features, str):
            features = features.model_copy(update={"weights": located(features.weights)})
        if reference is not None:
            reference = reference.model_copy(update={"file": located(reference.file)})
        return self.model_copy(update={"features": features, "reference": reference})

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
    classifier: Annotated[GuidingClassifier | None, JOINED_LATER] = None
    """What guides samples to their classes by its gradient: no stage of a sweep, but the trial itself; null: nothing."""

    @property
    def guide(self) -> GuidingClassifier | None:
        """The classifier, where it acts."""
        return self.classifier if self.classifier_scale else None

    @property
    def idle(self) -> frozenset[str]:
        """Settings that change nothing, since what they are of is off."""
        of_classifier = {"classifier_scale"} if self.guide is None else set()
        of_both = {"interval"} if self.guide is None and self.guidance == 1 else set()
        return frozenset(of_classifier | of_both | ({"guidance_channels"} if self.guidance == 1 else set()))

    @property
    def id(self) -> str:
        return content_hash(identity(self))
