"""What the U-ViTs count, cost, keep and start from (`trainables.networks.uvit`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.config.trunks import ResidualUvitTrunk, UvitSizes
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import BF16, FP32, LINEAR_HEAD, LINEAR_HEADS, UNET_CONDITION, activation_bytes

if TYPE_CHECKING:
    from torch import nn

KERNEL, STEM_KERNEL = 9, 49
"""Numbers of the windows of 3 x 3 and 7 x 7 convolutions."""
LINEAR = LINEAR_HEADS * LINEAR_HEAD
"""Channels of q, k or v of a linear attention."""


@dataclass(frozen=True)
class UvitPart:
    """A whole network: it makes the image itself."""

    trial: TrialConfig

    @property
    def trunk(self) -> UvitSizes:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, UvitSizes)
        return trunk

    @property
    def residual(self) -> bool:
        return isinstance(self.trunk, ResidualUvitTrunk)

    @property
    def _joined(self) -> int:
        """How many streams come into a block on the way up."""
        return 1 if self.residual else 2

    @property
    def _condition(self) -> int:
        return UNET_CONDITION * self.trunk.width

    @property
    def _levels(self) -> list[tuple[int, int, int]]:
        """Of each: its channels, those below it, and its pixels."""
        widths, side = self.trunk.channels, self.trial.grid
        return [(widths[i], widths[i + 1], (side >> i) ** 2) for i in range(self.trunk.halvings)]

    @property
    def _bottom(self) -> tuple[int, int, int, int]:
        """Channels, those of all heads, hidden width and pixels."""
        trunk = self.trunk
        width, pixels = trunk.channels[-1], (self.trial.grid >> trunk.halvings) ** 2
        return width, trunk.heads * trunk.head_channels, trunk.mlp_ratio * width, pixels

    @property
    def _patch(self) -> int:
        """Numbers of a patch."""
        return self.trial.token_dim

    @property
    def _stem_weights(self) -> int:
        window = self.trial.channels * STEM_KERNEL if self.trunk.patch == 1 else self._patch
        return window * self.trunk.width

    def parameters(self) -> int:
        trunk, told = self.trunk, self._condition
        time = trunk.time_features // 2 + (trunk.time_features + 1) * told + told + told * told + told
        label = (self.trial.data.num_classes + 1) * told
        last = self._patch * (trunk.width + 1)
        last += 0 if trunk.patch == 1 else self._patch * self._patch + self.trial.channels
        width, inner, hidden, _ = self._bottom
        block = width + 4 * width * inner + 2 * trunk.head_channels + 2 * width * hidden + (told + 1) * 2 * hidden
        levels = sum(self._level_parameters(above, below) for above, below, _ in self._levels)
        final = self._block_parameters(self._joined * trunk.width, trunk.width)
        return time + label + self._stem_weights + trunk.width + levels + trunk.depth * block + final + last

    def _level_parameters(self, width: int, below: int) -> int:
        blocks = 2 * self._block_parameters(width, width) + 2 * self._block_parameters(self._joined * width, width)
        attention = 2 * width + 4 * width * LINEAR + width
        return blocks + 2 * attention + 8 * width * below + below + 4 * width

    def _block_parameters(self, into: int, width: int) -> int:
        shortcut = 0 if into == width else into * width + width
        return KERNEL * width * (into + width) + 4 * width + (self._condition + 1) * 2 * width + shortcut

    def macs(self) -> Macs:
        """The image is data; the sinusoids of t are of learned frequencies."""
        trunk, told, pixels = self.trunk, self._condition, self.trial.grid**2
        stem = pixels * self._stem_weights
        time = (trunk.time_features + 1) * told + told * told
        last = pixels * self._patch * trunk.width + (0 if trunk.patch == 1 else pixels * self._patch**2)
        width, inner, hidden, below = self._bottom
        block = below * (4 * width * inner + 2 * width * hidden + 2 * below * inner) + told * 2 * hidden
        levels = sum(self._level_macs(*level) for level in self._levels)
        final = self._block_macs(self._joined * trunk.width, trunk.width, pixels)
        return Macs(stem + time + levels + trunk.depth * block + final + last, input_gradient=stem)

    def _level_macs(self, width: int, below: int, pixels: int) -> int:
        blocks = 2 * self._block_macs(width, width, pixels) + 2 * self._block_macs(self._joined * width, width, pixels)
        attention = pixels * (4 * width * LINEAR + 2 * LINEAR * LINEAR_HEAD)
        return blocks + 2 * attention + 2 * pixels * width * below

    def _block_macs(self, into: int, width: int, pixels: int) -> int:
        shortcut = 0 if into == width else pixels * into * width
        return pixels * KERNEL * width * (into + width) + self._condition * 2 * width + shortcut

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the blocks keep, or what comes into them and the most that one keeps; the last map's input."""
        trunk, pixels = self.trunk, self.trial.grid**2
        final = self._block_bytes(self._joined * trunk.width, trunk.width, pixels)
        kept = [final, *[self._bottom_bytes()] * trunk.depth]
        coming = [pixels * trunk.width, *[self._bottom[0] * self._bottom[3]] * trunk.depth]
        for width, below, count in self._levels:
            plain, joined = (self._block_bytes(times * width, width, count) for times in (1, self._joined))
            kept += [
                plain,
                plain,
                joined,
                joined,
                *[self._attention_bytes(width, count)] * 2,
                self._change_bytes(width, below, count),
            ]
            coming += [7 * width * count, 2 * below * count // 4]
        ends = pixels * (trunk.width + self._patch) * (self._stream + activation_bytes(self.trial))
        working = FP32 * max(4 * width * count for width, _, count in self._levels)
        return ends + working + (self._stream * sum(coming) + max(kept) if recomputed else sum(kept))

    def _block_bytes(self, into: int, width: int, pixels: int) -> int:
        """The stream that comes in and what the convolutions read of it; of each norm its input, output and form between, what
        silu takes, and the second convolution's input."""
        activation, rounded = activation_bytes(self.trial), self._rounded
        coming = into * (self._stream + (BF16 if rounded and self._stream == FP32 else 0))
        first = width * (FP32 * 4 + activation)
        return pixels * (coming + first + width * 3 * FP32)

    def _attention_bytes(self, width: int, pixels: int) -> int:
        """The stream, what its norm leaves and the one map reads; q, k and v before and after softmax; the other map's input
        and what its norm keeps."""
        activation = activation_bytes(self.trial)
        normed = width * (self._stream + FP32 * 2 + (activation if self._rounded else FP32))
        rows = LINEAR * (FP32 * 3 + activation * 3 + (FP32 if not self._rounded else 0))
        return pixels * (normed + rows + width * 2 * FP32)

    def _change_bytes(self, width: int, below: int, pixels: int) -> int:
        """Four pixels as one before their map, what comes up, and what silu takes and leaves."""
        activation = activation_bytes(self.trial)
        up = width * activation * (0 if self.residual else 1) + below * activation // 4
        return pixels * (width * activation + up + width * FP32)

    def _bottom_bytes(self) -> int:
        """Of attention the stream, its norm, q and k before and after theirs, v, and what is read; of the MLP the norm, the
        hidden values, and what is dropped."""
        activation, trunk = activation_bytes(self.trial), self.trunk
        width, inner, hidden, pixels = self._bottom
        attention = FP32 if self.trial.device == "cpu" else activation  # a CPU trains its attention in fp32
        weights = FP32 * trunk.heads * (pixels * (2 if trunk.dropout else 1) if self.trial.attention == "fp32" else 1)
        heads = inner * (2 * FP32 + 3 * FP32 + 4 * attention + activation)
        mlp = width * (self._stream + FP32 + activation) + hidden * (2 * FP32 + 2 * activation)
        dropped = hidden * (activation + 1) if trunk.dropout else 0
        return pixels * (width * (self._stream + 2 * FP32 + activation) + heads + weights + mlp + dropped)

    @property
    def _stream(self) -> int:
        """Bytes of one number between two blocks."""
        return BF16 if self.trial.residual == "bf16" else FP32

    @property
    def _rounded(self) -> bool:
        return self.trial.precision == "bf16"

    def initial(self, name: str) -> Initial:
        """As torch makes each map; the last is zero, so that a fresh network predicts zero; learned frequencies N(0, 1)."""
        *_, module, kind = ("", *name.split("."))
        if name == "time.waves":
            return "standard"
        if kind in ("norm", "q_scale", "k_scale") or module in ("norm", "norm1", "norm2", "out_norm"):
            return "ones"
        if module == "label":
            return "normal"
        return "zeros" if module == "last" else "torch"

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.uvit import Uvit

        return Uvit(self.trial, residual=self.residual)
