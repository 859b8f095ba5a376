"""What a trial trains a network for: what its loss is, what its samples are and which error stands at its rungs."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from trainables.config.average import TARGET, DecayEma
from trainables.config.fields import (
    JOINED_LATER,
    FiniteFloat,
    Fraction,
    Frozen,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Ruled,
    must_hold,
)
from trainables.config.objective import AlignmentTerm, PerceptualTerm, TaughtTerm

LONGEST_GROWTH = 20
"""Doublings after which every count of levels has met its bound."""
Temperature = Annotated[PositiveFloat, Field(ge=1e-3, le=100)]
ErrorWeight = Annotated[NonNegativeFloat, Field(le=1000)]


class DenoiserMethod(Frozen):
    """A network that finds the clean image in a noisy one, by the settings of `diffusion`."""

    kind: Literal["denoiser"] = "denoiser"


class AutoencoderMethod(Ruled):
    """A network that makes the image again from a small code; it reads nothing of `diffusion`. Its samples are held-out images
    made again."""

    kind: Literal["autoencoder"] = "autoencoder"
    absolute: ErrorWeight = 1.0
    """Weight of the mean absolute error over an image's numbers."""
    squared: ErrorWeight = 1.0
    """Weight of the mean squared error."""
    alignment: Annotated[AlignmentTerm | None, JOINED_LATER] = None
    """A teacher whose tokens the code is to be near; null: none."""
    perceptual: Annotated[PerceptualTerm | None, JOINED_LATER] = None
    """A teacher in whose tokens the image made again is to be near; null: none."""

    @property
    def taught(self) -> tuple[TaughtTerm, ...]:
        """Its terms with a teacher."""
        return tuple(term for term in (self.alignment, self.perceptual) if term is not None)

    @must_hold
    def something_is_missed(self) -> None:
        if not self.absolute and not self.squared:
            raise ValueError("one of `absolute` and `squared` must be above 0, got 0 and 0; raise one")


class ClassifierMethod(Frozen):
    """A network that finds the class of a noisy image, by the times and the noise of `diffusion`, and draws nothing: samples of
    denoisers are guided by it."""

    kind: Literal["classifier"] = "classifier"


class MaskedTokensMethod(Frozen):
    """A network that finds masked tokens from the others, a patch each, and draws them a few at a time (MAR, arXiv 2406.11838).
    Of `diffusion` it reads `label_drop` alone: its head has a diffusion of its own, DDPM's with the cosine schedule and a
    learned variance. Of how samples are drawn it reads `steps`, in which all patches of an image are drawn by a cosine schedule
    (at most one a patch), `head_steps`, `temperature` and `token_limit` of each patch, and `guidance`, which grows from 1 with
    the share that is drawn; not `sampler`, `interval`, `shift` and `t_eps_sample`."""

    kind: Literal["masked_tokens"] = "masked_tokens"
    mask_mean: Annotated[FiniteFloat, Field(ge=0, le=2)] = 1.0
    """Mean of the normal distribution from which an update's share of masked tokens is drawn."""
    mask_deviation: Annotated[PositiveFloat, Field(ge=1e-3, le=10)] = 0.25
    """Its standard deviation."""
    mask_least: Annotated[Fraction, Field(gt=0)] = 0.7
    """The distribution is cut to this least share, and to 1."""
    head_repeats: Annotated[PositiveInt, Field(le=1_000)] = 4
    """How often the head sees each masked token in an update, at times and with noise of its own."""


class EncoderPretrainingMethod(Ruled):
    """An encoder that knows an image by another view of it, and at one noise level by the next (EPG's first stage, arXiv
    2510.12586): a denoiser may begin from it. Of `diffusion` it reads `noise_scale` alone, and draws nothing.

    The loss is a cross entropy of finding an image among its group: each of two views, projected, is to find the other, made by
    a running average of the network, and the class token of a noisy image its own at the next level. The level is one for a
    whole update. Views are crops, mirrored or not: which ones EPG takes is not known.
    """

    kind: Literal["encoder_pretraining"] = "encoder_pretraining"
    temperature: Temperature = 0.2
    """By which the cosines of two views are divided."""
    level_temperature: Temperature = 0.1
    """By which the cosines of two noise levels are."""
    target_decay: Fraction = 0.99
    """Share of the average named `target` that an update keeps; there is no warm-up."""
    group: Annotated[PositiveInt, Field(ge=2, le=65_536)] = 32
    """Images that are told apart, and whose mean and variance the projection divides by: in a row of the batch, so that it does
    not matter how that is shared out over workers and micro-batches (EPG's own is not known)."""
    first_levels: Annotated[PositiveInt, Field(le=100_000)] = 20
    """Steps of the grid of noise levels at first."""
    last_levels: Annotated[PositiveInt, Field(le=100_000)] = 1280
    """Steps that it grows to by doubling."""
    doubling_images: PositiveInt = 87_771_428
    """Images after which there are twice as many: here a seventh of EPG's 600,000 updates, so that each count lasts as long."""
    least_side: Annotated[Fraction, Field(gt=0)] = 0.5
    """Side of the smallest crop over the image's."""

    @must_hold
    def levels_grow(self) -> None:
        if self.first_levels > self.last_levels:
            got = f"first_levels={self.first_levels}, last_levels={self.last_levels}"
            raise ValueError(f"`first_levels` must be at most last_levels, got {got}; swap them")

    @property
    def target(self) -> DecayEma:
        """The average that views are found by."""
        return DecayEma(name=TARGET, decay=self.target_decay, warmup=False)

    def levels_at(self, images: int) -> int:
        """Steps of the grid in the update that begins at an image count."""
        return min(self.last_levels, self.first_levels << min(images // self.doubling_images, LONGEST_GROWTH))


_Methods = DenoiserMethod | AutoencoderMethod | ClassifierMethod | MaskedTokensMethod | EncoderPretrainingMethod
Method = Annotated[_Methods, Field(discriminator="kind")]

METHODS: dict[str, type[Frozen]] = {variant().kind: variant for variant in get_args(get_args(Method)[0])}
"""By their kind."""
DENOISER = DenoiserMethod()
