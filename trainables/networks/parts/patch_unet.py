"""What the head of DiP counts and costs (`trainables.networks.heads.patch_unet`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.heads import PatchUnetHead
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, UnetLevel, activation_bytes, unet_levels

if TYPE_CHECKING:
    from torch import nn

KERNEL = 9
"""Numbers of a 3 x 3 convolution's window."""


@dataclass(frozen=True)
class PatchUnetPart:
    """A U-Net on each patch."""

    trial: TrialConfig

    @property
    def head(self) -> PatchUnetHead:
        head = self.trial.model.head
        assert isinstance(head, PatchUnetHead)
        return head

    @property
    def _levels(self) -> tuple[UnetLevel, ...]:
        return unet_levels(self.trial.model.patch_size, width=self.head.width, channels=self.trial.canvas.channels)

    @property
    def _bottom(self) -> tuple[int, int]:
        """Channels into and out of the convolution that meets the token."""
        above = self._levels[-1].width if self._levels else self.trial.canvas.channels
        return above + self.trial.model.width, self._levels[-1].width if self._levels else self.head.width

    def parameters(self) -> int:
        into, out = self._bottom
        channels, width = self.trial.canvas.channels, self.head.width
        return sum(map(_level_parameters, self._levels)) + into * out + out + width * channels + channels

    def macs(self) -> Macs:
        into, out = self._bottom
        channels, patch, patches = self.trial.canvas.channels, self.trial.model.patch_size, self.trial.grid**2
        last = patch * patch * self.head.width * channels
        whole = sum(map(_level_macs, self._levels)) + into * out + last
        first = self._levels[0].side ** 2 * KERNEL * channels * self._levels[0].width if self._levels else 0
        return Macs(patches * whole, input_gradient=patches * first)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Of each level the outputs of its convolutions, what follows them and what they are joined to; pooling's places."""
        activation, patches = activation_bytes(self.trial), self.trial.grid**2
        of_patch = sum(
            level.side**2 * (activation * (4 * level.width + 2 * level.after) + 2 * FP32 * level.width // level.pool)
            for level in self._levels
        )
        into, out = self._bottom
        return patches * (of_patch + activation * (into + 2 * out) + 2 * FP32 * self.trial.model.width) + self._ends

    @property
    def _ends(self) -> int:
        """The patches that go in."""
        return self.trial.canvas.channels * self.trial.canvas.side**2 * FP32

    def initial(self, name: str) -> Initial:
        """Every convolution as torch makes it; none is zero."""
        return "torch"

    def module(self) -> "nn.Module":
        from trainables.networks.heads.patch_unet import PatchUnet

        return PatchUnet(self.trial)


def _level_parameters(level: UnetLevel) -> int:
    down = KERNEL * level.before * level.width + level.width
    up = level.width**2 * level.pool**2 + level.width
    return down + up + KERNEL * 2 * level.width * level.after + level.after


def _level_macs(level: UnetLevel) -> int:
    """Of one patch."""
    return level.side**2 * (KERNEL * level.before * level.width + level.width**2 + KERNEL * 2 * level.width * level.after)
