"""What stands beside the squared error, and what weighs it by time."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import FiniteFloat, Frozen, PositiveFloat


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
