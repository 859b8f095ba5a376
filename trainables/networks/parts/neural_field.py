"""What the head of PixNerd counts and costs (`trainables.networks.heads.neural_field`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.heads import NeuralFieldHead
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, PIXEL_WAVES, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NeuralFieldPart:
    """Generated MLPs over pixels."""

    trial: TrialConfig

    @property
    def head(self) -> NeuralFieldHead:
        head = self.trial.model.head
        assert isinstance(head, NeuralFieldHead)
        return head

    @property
    def _generated(self) -> int:
        """Numbers of one block's two matrices."""
        return 2 * self.head.width**2 * self.head.ratio

    def parameters(self) -> int:
        width, channels = self.head.width, self.trial.canvas.channels
        block = (self.trial.model.width + 1) * self._generated + width
        around = (channels + PIXEL_WAVES) * width + width + width + width * channels + channels
        return self.head.blocks * block + around

    def macs(self) -> Macs:
        width, channels = self.head.width, self.trial.canvas.channels
        tokens, pixels = self.trial.grid**2, self.trial.canvas.side**2
        features = pixels * (channels + PIXEL_WAVES) * width
        blocks = self.head.blocks * (tokens * self.trial.model.width + pixels) * self._generated
        return Macs(features + blocks + pixels * width * channels, input_gradient=features)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The features' input; of each block the stream and its normalised form in fp32, the hidden values before and after
        silu, and the matrices as they come, in fp32, and with unit columns."""
        head, activation = self.head, activation_bytes(self.trial)
        tokens, pixels = self.trial.grid**2, self.trial.canvas.side**2
        of_pixel = 2 * head.width * FP32 + 2 * head.width * head.ratio * activation
        matrices = self._generated * (2 * FP32 + (activation if activation < FP32 else 0))
        inputs = pixels * (self.trial.canvas.channels + PIXEL_WAVES) * FP32
        condition = 2 * tokens * self.trial.model.width * FP32
        return inputs + condition + head.blocks * (pixels * of_pixel + tokens * matrices) + 2 * pixels * head.width * FP32

    def initial(self, name: str) -> Initial:
        """As PixNerd's code leaves them: the last map at zero, all others as torch makes them."""
        if name.startswith("last."):
            return "zeros"
        return "ones" if name.endswith("norm.weight") else "torch"

    def module(self) -> "nn.Module":
        from trainables.networks.heads.neural_field import NeuralField

        return NeuralField(self.trial)
