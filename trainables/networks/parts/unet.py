"""What ADM's U-Net counts, costs, keeps and starts from (`trainables.networks.unet`)."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetTrunk
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import BF16, FP32, UNET_CONDITION, activation_bytes
from trainables.networks.unet_layout import UnetLayout, UnetStep, layout

if TYPE_CHECKING:
    from torch import nn

KERNEL = 9
"""Numbers of a 3 x 3 convolution's window."""
CLOSED = ("conv2.", "proj.", "last.")
"""Maps that are zero at first: the last of a residual block, of an attention and of the network."""


@dataclass(frozen=True)
class UnetPart:
    """A whole network: it makes the image itself."""

    trial: TrialConfig

    @property
    def trunk(self) -> UnetTrunk:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, UnetTrunk)
        return trunk

    @cached_property
    def _layout(self) -> UnetLayout:
        return layout(self.trunk, side=self.trial.canvas.side)

    @property
    def _ends(self) -> tuple[int, int]:
        """Channels after the first convolution and before the last."""
        return self.trunk.width, self._layout.up[-1].width

    @property
    def _condition(self) -> int:
        return UNET_CONDITION * self.trunk.width

    def parameters(self) -> int:
        first, last = self._ends
        channels, told = self.trial.channels, self._condition
        time = self.trunk.width * told + told + told * told + told
        label = (self.trial.data.num_classes + 1) * told
        ends = KERNEL * channels * (first + last) + first + channels + 2 * last
        return time + label + ends + sum(self._step_parameters(step) for step in self._layout.steps)

    def macs(self) -> Macs:
        """The image and the sinusoids of t are data."""
        first, last = self._ends
        told, pixels = self._condition, self.trial.canvas.side**2
        of_image = pixels * KERNEL * self.trial.channels * first
        time = self.trunk.width * told
        whole = sum(self._step_macs(step) for step in self._layout.steps)
        out = pixels * KERNEL * self.trial.channels * last
        return Macs(of_image + time + told * told + whole + out, input_gradient=of_image + time)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the steps keep, or what comes into them and the most that one keeps; the last norm's input and output."""
        steps, pixels = self._layout.steps, self.trial.canvas.side**2
        ends = pixels * self._ends[1] * (self._stream + FP32 + activation_bytes(self.trial))
        kept = [self._step_bytes(step) for step in steps]
        if not recomputed:
            return ends + self._working + sum(kept)
        coming = sum(_side_before(step) ** 2 * step.before * self._stream for step in steps)
        return ends + self._working + coming + max(kept)

    def initial(self, name: str) -> Initial:
        """As torch makes each map; what closes a block and the network is zero, a class's embedding N(0, 1)."""
        if any(part in ("norm", "norm1", "norm2") for part in name.split(".")):
            return "zeros" if name.endswith("bias") else "ones"
        if name.startswith("label."):
            return "standard"
        return "zeros" if any(closed in name for closed in CLOSED) else "torch"

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.unet import Unet

        return Unet(self.trial)

    def _step_parameters(self, step: UnetStep) -> int:
        into, width = step.into, step.width
        if not step.residual:
            return KERNEL * into * width + width
        told = (2 if self.trunk.scale_shift else 1) * width
        block = 2 * into + KERNEL * into * width + width + (self._condition + 1) * told + 2 * width + KERNEL * width**2 + width
        shortcut = 0 if into == width else into * width + width
        return block + shortcut + (4 * width**2 + 4 * width + 2 * width if step.attends else 0)

    def _step_macs(self, step: UnetStep) -> int:
        into, width, pixels = step.into, step.width, step.side**2
        if not step.residual:
            return pixels * KERNEL * into * width
        told = self._condition * (2 if self.trunk.scale_shift else 1) * width
        block = pixels * KERNEL * width * (into + width) + told + (0 if into == width else pixels * into * width)
        return block + (4 * pixels * width**2 + 2 * pixels**2 * width if step.attends else 0)

    def _step_bytes(self, step: UnetStep) -> int:
        """What a step keeps for its backward pass: the stream that comes in, in a block each norm's input and output and each
        convolution's input, and what attention keeps."""
        activation, before, after = activation_bytes(self.trial), _side_before(step) ** 2, step.side**2
        rounded = self.trial.precision == "bf16"
        if not step.residual:
            seen = after if step.change == "up" else before
            return step.into * (before * self._stream + (activation * seen if rounded or step.change == "up" else 0))
        normed = FP32 + self._copied + (FP32 if step.change == "down" and rounded else 0)
        first = step.into * (before * (self._stream + normed) + after * activation)
        past = step.into * after * BF16 if rounded and step.into != step.width else 0
        second = step.width * after * (FP32 * (3 if self.trunk.scale_shift else 2) + activation)
        dropped = step.width * after * (activation + 1) if self.trunk.dropout else 0
        return first + past + second + dropped + (self._attention_bytes(step) if step.attends else 0)

    def _attention_bytes(self, step: UnetStep) -> int:
        """The stream, its norm's output for the one map, q, k and v, what they come to for the other, and the weights."""
        activation, pixels, heads = activation_bytes(self.trial), step.side**2, step.width // self.trunk.head_channels
        attention = FP32 if self.trial.device == "cpu" else activation  # a CPU trains its attention in fp32
        rounded = activation if activation != attention else 0
        weights = FP32 * heads * (pixels if self.trial.attention == "fp32" else 1)
        numbers = self._stream + self._copied + activation + 4 * attention + rounded
        return pixels * (step.width * numbers + weights)

    @property
    def _stream(self) -> int:
        """Bytes of one number between two blocks."""
        return BF16 if self.trial.residual == "bf16" else FP32

    @property
    def _copied(self) -> int:
        """Bytes of one number that a norm takes in float32, where the stream is not."""
        return FP32 if self._stream != FP32 else 0

    @property
    def _working(self) -> int:
        """Gradients at the widest place: of what comes into a block, and within it."""
        return max(
            _side_before(step) ** 2 * step.into * FP32 + 2 * step.side**2 * step.width * FP32 for step in self._layout.steps
        )


def _side_before(step: UnetStep) -> int:
    """Pixels along what comes in."""
    return {"none": step.side, "down": 2 * step.side, "up": step.side // 2}[step.change]
