"""What the head of DeCo counts and costs (`trainables.networks.heads.pixel_mlp`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.heads import PixelMlpHead
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, PIXEL_WAVES, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PixelMlpPart:
    """Modulated MLPs over pixels."""

    trial: TrialConfig

    @property
    def head(self) -> PixelMlpHead:
        head = self.trial.model.head
        assert isinstance(head, PixelMlpHead)
        return head

    def parameters(self) -> int:
        width, channels = self.head.width, self.trial.canvas.channels
        features = (channels + PIXEL_WAVES) * width + width + width * width + width
        condition = (self.trial.model.width + 1) * self.trial.model.patch_size**2 * width
        block = 2 * width + 2 * (width * width + width) + 3 * (width * width + width)
        return features + condition + self.head.blocks * block + width * channels + channels

    def macs(self) -> Macs:
        width, channels = self.head.width, self.trial.canvas.channels
        pixels = self.trial.canvas.side**2
        features, condition = pixels * (channels + PIXEL_WAVES) * width, pixels * self.trial.model.width * width
        of_pixel = width * width + self.head.blocks * 5 * width * width + width * channels
        return Macs(features + condition + pixels * of_pixel, input_gradient=features)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The features' input, and condition and stream; of each block the stream and its normalised form, shift, scale, 1 +
        scale and gate in fp32, and what the two products take and leave."""
        width, activation = self.head.width, activation_bytes(self.trial)
        pixels, condition = self.trial.canvas.side**2, self.trial.grid**2 * self.trial.model.width * FP32
        around = (self.trial.canvas.channels + PIXEL_WAVES) * FP32 + width * (2 * FP32 + 4 * activation)
        block = width * (6 * FP32 + 4 * activation)
        return 2 * condition + pixels * (around + self.head.blocks * block)

    def initial(self, name: str) -> Initial:
        """The modulations and the last map start at zero; the features as torch makes them, all else as Xavier has it."""
        parts = name.split(".")
        if parts[0] == "features":
            return "torch"
        if "norm" in parts and parts[-1] == "weight":
            return "ones"
        return "zeros" if parts[0] == "last" or "modulation" in parts or parts[-1] == "bias" else "xavier"

    def module(self) -> "nn.Module":
        from trainables.networks.heads.pixel_mlp import PixelMlp

        return PixelMlp(self.trial)
