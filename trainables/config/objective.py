"""What stands beside the squared error, and what weighs it by time."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import FiniteFloat, Frozen, PositiveFloat, PositiveInt
from trainables.config.network import ModelConfig

TermWeight = Annotated[PositiveFloat, Field(le=1e6)]


class WeightedTerm(Frozen):
    """A term that is added to the squared error."""

    kind: Literal["cosine", "frequency", "multiscale"]
    """`cosine`: one minus the cosine over channels at each pixel (LightningDiT). `frequency`: JPEG's weights on DCT blocks in
    YCbCr (DeCo). `multiscale`: squared errors of the image averaged down to 4 pixels and more (simple diffusion)."""
    weight: TermWeight = 1.0
    """By which it is multiplied."""


class ClassifierTerm(Frozen):
    """Cross entropy of an image's class by a linear map of its mean token after some blocks (JiT, table 11).

    Those blocks do not hear the class, in sampling neither: they are modulated by the time alone. A label that is dropped for
    guidance is still the class that is to be found.
    """

    kind: Literal["classifier"]
    weight: TermWeight = 5e-4
    """By which it is multiplied. JiT's 100 stands beside a squared error that is summed over the 3 x 256^2 numbers of an image;
    here that is a mean, and 100 / (3 x 256^2) = 5e-4 the same share."""
    block: PositiveInt | None = None
    """The blocks that the tokens have gone through; none: a third of the depth (JiT: 4 of B's 12, 8 of L's 24), and not beyond
    the block before which class tokens join."""

    def tap(self, model: ModelConfig) -> int:
        """Blocks before the tokens are read."""
        first = model.class_tokens_start if model.class_tokens else model.depth
        return self.block or max(1, min(model.depth // 3, first))


TappedTerm = ClassifierTerm
"""A term of what a module that trains beside the network makes of its tokens after some blocks."""
LossTermConfig = Annotated[WeightedTerm | ClassifierTerm, Field(discriminator="kind")]


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
