"""What the residual blocks, attentions and resampling convolutions of ADM's networks count, cost and keep."""

from dataclasses import dataclass

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetSizes
from trainables.networks.sizes import BF16, FP32, UNET_CONDITION, activation_bytes
from trainables.networks.unet_layout import UnetStep

KERNEL = 9
"""Numbers of a 3 x 3 convolution's window."""


@dataclass(frozen=True)
class UnetSteps:
    """Some steps of a trial's network, under time and class."""

    trial: TrialConfig
    trunk: UnetSizes
    steps: tuple[UnetStep, ...]

    @property
    def condition(self) -> int:
        """Width of time and class."""
        return UNET_CONDITION * self.trunk.width

    def parameters(self) -> int:
        """Of the steps alone."""
        return sum(self._step_parameters(step) for step in self.steps)

    def time_parameters(self) -> int:
        """Of what tells them the time."""
        told = self.condition
        return self.trunk.width * told + told + told * told + told

    def macs(self) -> int:
        """Of a forward pass of one image."""
        return sum(self._step_macs(step) for step in self.steps)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the steps keep, or what comes into them and the most that one keeps; gradients at the widest place."""
        kept = [self._step_bytes(step) for step in self.steps]
        if not recomputed:
            return self._working + sum(kept)
        coming = sum(_side_before(step) ** 2 * step.before * self.stream for step in self.steps)
        return self._working + coming + max(kept)

    @property
    def stream(self) -> int:
        """Bytes of one number between two blocks."""
        return BF16 if self.trial.residual == "bf16" else FP32

    def _step_parameters(self, step: UnetStep) -> int:
        into, width = step.into, step.width
        if not step.residual:
            return KERNEL * into * width + width
        told = (2 if self.trunk.scale_shift else 1) * width
        block = 2 * into + KERNEL * into * width + width + (self.condition + 1) * told + 2 * width + KERNEL * width**2 + width
        shortcut = 0 if into == width else into * width + width
        return block + shortcut + (4 * width**2 + 4 * width + 2 * width if step.attends else 0)

    def _step_macs(self, step: UnetStep) -> int:
        into, width, pixels = step.into, step.width, step.side**2
        if not step.residual:
            return pixels * KERNEL * into * width
        told = self.condition * (2 if self.trunk.scale_shift else 1) * width
        block = pixels * KERNEL * width * (into + width) + told + (0 if into == width else pixels * into * width)
        return block + (4 * pixels * width**2 + 2 * pixels**2 * width if step.attends else 0)

    def _step_bytes(self, step: UnetStep) -> int:
        """What a step keeps for its backward pass: the stream that comes in, in a block each norm's input and output and each
        convolution's input, and what attention keeps."""
        activation, before, after = activation_bytes(self.trial), _side_before(step) ** 2, step.side**2
        rounded = self.trial.precision == "bf16"
        if not step.residual:
            seen = after if step.change == "up" else before
            return step.into * (before * self.stream + (activation * seen if rounded or step.change == "up" else 0))
        normed = FP32 + self._copied + (FP32 if step.change == "down" and rounded else 0)
        first = step.into * (before * (self.stream + normed) + after * activation)
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
        numbers = self.stream + self._copied + activation + 4 * attention + rounded
        return pixels * (step.width * numbers + weights)

    @property
    def _copied(self) -> int:
        """Bytes of one number that a norm takes in float32, where the stream is not."""
        return FP32 if self.stream != FP32 else 0

    @property
    def _working(self) -> int:
        """Gradients at the widest place: of what comes into a block, and within it."""
        return max(_side_before(step) ** 2 * step.into * FP32 + 2 * step.side**2 * step.width * FP32 for step in self.steps)


def _side_before(step: UnetStep) -> int:
    """Pixels along what comes in."""
    return {"none": step.side, "down": 2 * step.side, "up": step.side // 2}[step.change]
