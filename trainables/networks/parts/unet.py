"""What ADM's U-Net counts, costs, keeps and starts from (`trainables.networks.unet`)."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetTrunk
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.parts.unet_steps import KERNEL, UnetSteps
from trainables.networks.sizes import FP32, activation_bytes
from trainables.networks.unet_layout import layout

if TYPE_CHECKING:
    from torch import nn

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
    def _steps(self) -> UnetSteps:
        return UnetSteps(self.trial, self.trunk, layout(self.trunk, side=self.trial.canvas.side).steps)

    @property
    def _ends(self) -> tuple[int, int]:
        """Channels after the first convolution and before the last."""
        return self.trunk.width, self._steps.steps[-1].width

    def parameters(self) -> int:
        first, last = self._ends
        channels, steps = self.trial.channels, self._steps
        label = (self.trial.data.num_classes + 1) * steps.condition
        ends = KERNEL * channels * (first + last) + first + channels + 2 * last
        return steps.time_parameters() + label + ends + steps.parameters()

    def macs(self) -> Macs:
        """The image and the sinusoids of t are data."""
        first, last = self._ends
        told, pixels = self._steps.condition, self.trial.canvas.side**2
        of_image = pixels * KERNEL * self.trial.channels * first
        time = self.trunk.width * told
        out = pixels * KERNEL * self.trial.channels * last
        return Macs(of_image + time + told * told + self._steps.macs() + out, input_gradient=of_image + time)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the steps keep; the last norm's input and output."""
        pixels, steps = self.trial.canvas.side**2, self._steps
        ends = pixels * self._ends[1] * (steps.stream + FP32 + activation_bytes(self.trial))
        return ends + steps.activation_bytes(recomputed=recomputed)

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
