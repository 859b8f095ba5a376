"""What an autoencoder counts, costs, keeps and starts from (`trainables.networks.autoencoder`)."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.config.autoencoder import AutoencoderTrunk, VqCode
from trainables.config.trial import TrialConfig
from trainables.networks.autoencoder_layout import CodingStep, decoder_steps, encoder_steps
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import BF16, FP32, activation_bytes

if TYPE_CHECKING:
    from torch import nn

KERNEL = 9
"""Numbers of a 3 x 3 convolution's window."""


@dataclass(frozen=True)
class AutoencoderPart:
    """A whole network, from the image to the image."""

    trial: TrialConfig

    @property
    def trunk(self) -> AutoencoderTrunk:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, AutoencoderTrunk)
        return trunk

    @cached_property
    def _halves(self) -> tuple[tuple[CodingStep, ...], tuple[CodingStep, ...]]:
        side = self.trial.canvas.side
        return encoder_steps(self.trunk, side=side), decoder_steps(self.trunk, side=side)

    @property
    def _told(self) -> int:
        """Numbers that the encoder says of each place."""
        return self.trunk.code_channels * (2 if self.trunk.code.kind == "kl" else 1)

    @property
    def _entries(self) -> int:
        return self.trunk.code.entries if isinstance(self.trunk.code, VqCode) else 0

    @property
    def _places(self) -> int:
        return int((self.trial.canvas.side >> self.trunk.halvings) ** 2)

    def parameters(self) -> int:
        channels, code, told = self.trial.channels, self.trunk.code_channels, self._told
        first, bottom, last = self._ends
        encoder = KERNEL * channels * first + first + 2 * bottom + KERNEL * bottom * told + told
        decoder = KERNEL * code * bottom + bottom + 2 * last + KERNEL * last * channels + channels
        between = told * (told + 1) + code * (code + 1) + self._entries * code
        return encoder + between + decoder + sum(_parameters(step) for half in self._halves for step in half)

    def macs(self) -> Macs:
        """The image is data."""
        channels, code, told = self.trial.channels, self.trunk.code_channels, self._told
        first, bottom, last = self._ends
        pixels, places = self.trial.canvas.side**2, self._places
        of_image = pixels * KERNEL * channels * first
        ends = of_image + places * KERNEL * bottom * (told + code) + pixels * KERNEL * last * channels
        between = places * (told**2 + code**2 + self._entries * code)
        return Macs(ends + between + sum(_macs(step) for half in self._halves for step in half), input_gradient=of_image)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the steps keep, or what comes into them and the most that one keeps; the last norms' inputs and outputs."""
        steps, (_, bottom, last) = [step for half in self._halves for step in half], self._ends
        pixels, places = self.trial.canvas.side**2, self._places
        closed = self._stream + FP32 + activation_bytes(self.trial)
        ends = (places * bottom + pixels * last) * closed
        kept = [self._step_bytes(step) for step in steps]
        working = max(3 * step.side**2 * max(step.into, step.width) * FP32 for step in steps)
        if not recomputed:
            return ends + working + sum(kept)
        return ends + working + sum(_side_before(step) ** 2 * step.into * self._stream for step in steps) + max(kept)

    def initial(self, name: str) -> Initial:
        """As torch makes each map; norms leave values as they are, and entries are N(0, 1)."""
        if any(part in ("norm", "norm1", "norm2") for part in name.split(".")):
            return "zeros" if name.endswith("bias") else "ones"
        return "standard" if name.startswith("entries.") else "torch"

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.autoencoder import Autoencoder

        return Autoencoder(self.trial)

    @property
    def _ends(self) -> tuple[int, int, int]:
        """Channels of the first convolution, at the code's side, and before the last convolution."""
        return self.trunk.width, self._halves[0][-1].width, self._halves[1][-1].width

    @property
    def _stream(self) -> int:
        """Bytes of one number between two steps."""
        return BF16 if self.trial.residual == "bf16" else FP32

    def _step_bytes(self, step: CodingStep) -> int:
        """What a step keeps for its backward pass: the stream that comes in, each norm's output and each map's input."""
        activation, pixels = activation_bytes(self.trial), step.side**2
        copied = FP32 if self._stream != FP32 else 0
        if step.kind in ("down", "up"):
            seen = _side_before(step) ** 2 * step.into * self._stream
            return seen + activation * step.into * (pixels if step.kind == "up" else _side_before(step) ** 2)
        if step.kind == "attention":
            weights = FP32 * (pixels if self.trial.attention == "fp32" else 1)
            return pixels * (step.width * (self._stream + copied + 2 * activation + 4 * FP32) + weights)
        first = step.into * (self._stream + copied + FP32 + activation)
        return pixels * (first + step.width * (2 * FP32 + activation))


def _parameters(step: CodingStep) -> int:
    into, width = step.into, step.width
    if step.kind == "attention":
        return 4 * width**2 + 4 * width + 2 * width
    if step.kind != "block":
        return KERNEL * into * width + width
    shortcut = 0 if into == width else into * width + width
    return 2 * into + KERNEL * into * width + width + 2 * width + KERNEL * width**2 + width + shortcut


def _macs(step: CodingStep) -> int:
    into, width, pixels = step.into, step.width, step.side**2
    if step.kind == "attention":
        return 4 * pixels * width**2 + 2 * pixels**2 * width
    if step.kind != "block":
        return pixels * KERNEL * into * width
    return pixels * (KERNEL * width * (into + width) + (0 if into == width else into * width))


def _side_before(step: CodingStep) -> int:
    """Pixels along what comes in."""
    return {"down": 2 * step.side, "up": step.side // 2}.get(step.kind, step.side)
