"""What ADM's classifier counts, costs, keeps and starts from (`trainables.networks.unet_classifier`)."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetClassifierTrunk
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.parts.unet_steps import KERNEL, UnetSteps
from trainables.networks.sizes import FP32, activation_bytes
from trainables.networks.unet_layout import layout

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class UnetClassifierPart:
    """A whole network: it makes what each class's probability is."""

    trial: TrialConfig

    @property
    def trunk(self) -> UnetClassifierTrunk:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, UnetClassifierTrunk)
        return trunk

    @cached_property
    def _steps(self) -> UnetSteps:
        steps = layout(self.trunk, side=self.trial.canvas.side)
        return UnetSteps(self.trial, self.trunk, (*steps.down, *steps.middle))

    @property
    def _bottom(self) -> tuple[int, int]:
        """Channels of the last step, and its places."""
        last = self._steps.steps[-1]
        return last.width, last.side**2

    def parameters(self) -> int:
        """There is no class to be told."""
        (width, places), first, classes = self._bottom, self.trunk.width, self.trial.data.num_classes
        ends = KERNEL * self.trial.channels * first + first + 2 * width + (width + 1) * classes
        pool = (places + 1) * width + 3 * width * (width + 1) if self.trunk.pool == "attention" else 0
        return self._steps.time_parameters() + ends + pool + self._steps.parameters()

    def macs(self) -> Macs:
        """The image and the sinusoids of t are data."""
        (width, places), told = self._bottom, self._steps.condition
        of_image = self.trial.canvas.side**2 * KERNEL * self.trial.channels * self.trunk.width
        time = self.trunk.width * told
        pool = (places + 1) * (3 * width**2 + 2 * width) if self.trunk.pool == "attention" else 0
        whole = of_image + time + told * told + self._steps.macs() + pool + width * self.trial.data.num_classes
        return Macs(whole, input_gradient=of_image + time)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the steps keep; the last norm's input and output, and in the pool the tokens, q, k, v and the weights."""
        (width, places), activation = self._bottom, activation_bytes(self.trial)
        ends = places * width * (self._steps.stream + FP32)
        pool = 0
        if self.trunk.pool == "attention":
            numbers = activation + 3 * (FP32 if self.trial.device == "cpu" else activation)
            pool = (places + 1) * (width * numbers + FP32 * width // self.trunk.head_channels)
        return ends + pool + self._steps.activation_bytes(recomputed=recomputed)

    def initial(self, name: str) -> Initial:
        """As torch makes each map; what closes a block is zero, and so is the map after a pool of means. The pool's positions
        are N(0, 0.02)."""
        if any(part in ("norm", "norm1", "norm2") for part in name.split(".")):
            return "zeros" if name.endswith("bias") else "ones"
        if name == "pool.position":
            return "normal"
        closed = ("conv2.", ".attention.proj.", *(("last.",) if self.trunk.pool == "adaptive" else ()))
        return "zeros" if any(each in name for each in closed) else "torch"

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.unet_classifier import UnetClassifier

        return UnetClassifier(self.trial)
