"""What stands beside the squared error and weighs it, and how t is drawn after other papers than JiT's."""

import math
from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import FiniteFloat, Frozen, PositiveFloat

MODE_LIMIT = 2 / (math.pi - 2)
"""Above it SD3's mode sampling is not monotone."""
Ratio = Annotated[PositiveFloat, Field(ge=1e-3, le=1000)]


class WeightedTerm(Frozen):
    """A term that is added to the squared error."""

    kind: Literal["cosine", "frequency", "multiscale"]
    """`cosine`: one minus the cosine over channels at each pixel (LightningDiT). `frequency`: JPEG's weights on DCT blocks in
    YCbCr (DeCo). `multiscale`: squared errors of the image averaged down to 4 pixels and more (simple diffusion)."""
    weight: Annotated[PositiveFloat, Field(le=1e6)] = 1.0
    """By which it is multiplied."""


class NoWeighting(Frozen):
    """The space of the loss alone weighs the times (JiT)."""

    kind: Literal["none"] = "none"


class SigmoidWeighting(Frozen):
    """The squared x-error times e^b sigmoid(log-SNR - b), whatever `loss` is (SiD2, arXiv 2410.19324)."""

    kind: Literal["sigmoid"] = "sigmoid"
    bias: Annotated[FiniteFloat, Field(ge=-20, le=20)] = -1.0
    """b."""
    importance: bool = False
    """Divide by the density of the log-SNR under `t_sampling`, so that this no longer weighs the times."""


class MinSnrWeighting(Frozen):
    """The squared x-error times min(SNR, gamma), whatever `loss` is (arXiv 2303.09556)."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: Annotated[PositiveFloat, Field(le=1e6)] = 5.0
    """Largest weight."""


Weighting = Annotated[NoWeighting | SigmoidWeighting | MinSnrWeighting, Field(discriminator="kind")]


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
