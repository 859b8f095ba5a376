"""How t is drawn in training: JiT's distribution, and those of other papers."""

import math
from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import FiniteFloat, Frozen, PositiveFloat

MODE_LIMIT = 2 / (math.pi - 2)
"""Above it SD3's mode sampling is not monotone."""

Ratio = Annotated[PositiveFloat, Field(ge=1e-3, le=1000)]


class LogitNormal(Frozen):
    """t = sigmoid(s) with s ~ N(mu, sigma^2); t = 1 is data. JiT: mu = -0.8, sigma = 0.8."""

    kind: Literal["logit_normal"] = "logit_normal"
    mu: Annotated[FiniteFloat, Field(ge=-20, le=20)] = -0.8
    """Mean of logit(t); lower is noisier."""
    sigma: Annotated[PositiveFloat, Field(le=20)] = 0.8
    """Standard deviation of logit(t)."""


class Uniform(Frozen):
    """t ~ U(0, 1)."""

    kind: Literal["uniform"] = "uniform"


class Mode(Frozen):
    """SD3's mode sampling (arXiv 2403.03206, equation 20), in our t."""

    kind: Literal["mode"] = "mode"
    scale: Annotated[FiniteFloat, Field(ge=-1, le=MODE_LIMIT)] = 1.29
    """Above 0 the middle times are drawn more often, below 0 the ends."""


class CosineTimes(Frozen):
    """The cosine schedule's log-SNR, drawn evenly (SD3's CosMap, simple diffusion)."""

    kind: Literal["cosine"] = "cosine"


class ShiftedCosine(Frozen):
    """The cosine schedule with its log-SNR moved by 2 ln(shift) (simple diffusion, arXiv 2301.11093)."""

    kind: Literal["shifted"] = "shifted"
    shift: Ratio = 0.25
    """Reference resolution over the images' own: 64/256; below 1 is noisier."""


class InterpolatedCosine(Frozen):
    """The cosine schedule whose log-SNR moves from one shift at noise to another at data (simple diffusion, equation 6)."""

    kind: Literal["interpolated"] = "interpolated"
    at_noise: Ratio = 1.0
    """The shift at t = 0."""
    at_data: Ratio = 0.25
    """The shift at t = 1."""


TSampling = Annotated[
    LogitNormal | Uniform | Mode | CosineTimes | ShiftedCosine | InterpolatedCosine, Field(discriminator="kind")
]
