"""What a trial trains a network for: what its loss is, what its samples are and which error stands at its rungs."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import Frozen, NonNegativeFloat, Ruled, must_hold

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

    @must_hold
    def something_is_missed(self) -> None:
        if not self.absolute and not self.squared:
            raise ValueError("one of `absolute` and `squared` must be above 0, got 0 and 0; raise one")


class ClassifierMethod(Frozen):
    """A network that finds the class of a noisy image, by the times and the noise of `diffusion`, and draws nothing: samples of
    denoisers are guided by it."""

    kind: Literal["classifier"] = "classifier"


Method = Annotated[DenoiserMethod | AutoencoderMethod | ClassifierMethod, Field(discriminator="kind")]

DENOISER = DenoiserMethod()
