"""What the head of PixelDiT counts and costs (`trainables.networks.heads.pixel_transformer`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.heads import PixelTransformerHead
from trainables.config.trial import TrialConfig
from trainables.networks.parts.jit_blocks import attention_bytes, attention_parameters
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, PIXEL_MLP_RATIO, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PixelTransformerPart:
    """Blocks over pixels."""

    trial: TrialConfig

    @property
    def head(self) -> PixelTransformerHead:
        head = self.trial.model.head
        assert isinstance(head, PixelTransformerHead)
        return head

    @property
    def _numbers(self) -> int:
        """Of one patch, all its pixels side by side."""
        return self.trial.model.patch_size**2 * self.head.width

    def parameters(self) -> int:
        d, width, numbers, channels = self.trial.model.width, self.head.width, self._numbers, self.trial.canvas.channels
        attention = 2 * numbers * d + d + numbers + attention_parameters(self.trial.model)
        mlp = 2 * PIXEL_MLP_RATIO * width * width + (PIXEL_MLP_RATIO + 1) * width
        block = attention + mlp + 2 * width + (d + 1) * 6 * numbers
        return channels * width + width + self.head.blocks * block + width + width * channels + channels

    def macs(self) -> Macs:
        d, width, numbers, channels = self.trial.model.width, self.head.width, self._numbers, self.trial.canvas.channels
        tokens, pixels = self.trial.grid**2, self.trial.canvas.side**2
        attention = tokens * (8 * numbers * d + 4 * d * d) + 2 * tokens * tokens * d
        block = attention + pixels * 2 * PIXEL_MLP_RATIO * width * width
        return Macs(2 * pixels * channels * width + self.head.blocks * block, input_gradient=pixels * channels * width)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Stream and condition; of each block two streams with their normalised forms, the six modulations and 1 + scale twice
        in fp32, what the products take and leave, and the attention's own."""
        width, activation = self.head.width, activation_bytes(self.trial)
        tokens, pixels = self.trial.grid**2, self.trial.canvas.side**2
        of_pixel = width * (12 * FP32 + activation * (2 + 2 * PIXEL_MLP_RATIO + 2))
        block = pixels * of_pixel + tokens * attention_bytes(self.trial, tokens)
        condition = 2 * tokens * self.trial.model.width * FP32
        return condition + pixels * width * 3 * FP32 + self.head.blocks * block

    def initial(self, name: str) -> Initial:
        """The modulations and the last map start at zero, all others as torch makes them."""
        parts = name.split(".")
        if any(part.endswith(("norm", "norm1", "norm2")) for part in parts):
            return "zeros" if parts[-1] == "bias" else "ones"
        return "zeros" if parts[0] == "last" or "modulation" in parts else "torch"

    def module(self) -> "nn.Module":
        from trainables.networks.heads.pixel_transformer import PixelTransformer

        return PixelTransformer(self.trial)
