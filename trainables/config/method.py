"""What a trial trains a network for: what its loss is, what its samples are and which error stands at its rungs."""

from typing import Annotated, Literal, get_args

from pydantic import Field

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
from trainables.config.objective import AlignmentTerm

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
    (at most one a patch), `head_steps` and `temperature` of each patch, and `guidance`, which grows from 1 with the share that
    is drawn; not `sampler`, `interval`, `shift` and `t_eps_sample`."""

    kind: Literal["masked_tokens"] = "masked_tokens"
    mask_mean: Annotated[FiniteFloat, Field(ge=0, le=2)] = 1.0
    """Mean of the normal distribution from which an update's share of masked tokens is drawn."""
    mask_deviation: Annotated[PositiveFloat, Field(ge=1e-3, le=10)] = 0.25
    """Its standard deviation."""
    mask_least: Annotated[Fraction, Field(gt=0)] = 0.7
    """The distribution is cut to this least share, and to 1."""
    head_repeats: Annotated[PositiveInt, Field(le=1_000)] = 4
    """How often the head sees each masked token in an update, at times and with noise of its own."""


Method = Annotated[DenoiserMethod | AutoencoderMethod | ClassifierMethod | MaskedTokensMethod, Field(discriminator="kind")]

METHODS: dict[str, type[Frozen]] = {variant().kind: variant for variant in get_args(get_args(Method)[0])}
"""By their kind."""
DENOISER = DenoiserMethod()
