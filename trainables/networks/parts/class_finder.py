"""What the classifier of tokens counts and costs (`trainables.networks.class_finder`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.networks.parts.embeddings import weights_or_bias
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ClassFinderPart:
    """One linear map of the mean token."""

    trial: TrialConfig

    def parameters(self) -> int:
        return (self.trial.model.width + 1) * self.trial.data.num_classes

    def macs(self) -> Macs:
        return Macs(self.trial.model.width * self.trial.data.num_classes)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The mean token as the product takes it, and the logarithms of the classes' probabilities."""
        return self.trial.model.width * activation_bytes(self.trial) + self.trial.data.num_classes * FP32

    def initial(self, name: str) -> Initial:
        """As JiT's linear maps."""
        return weights_or_bias(name)

    def module(self) -> "nn.Module":
        from trainables.networks.class_finder import ClassFinder

        return ClassFinder(self.trial)
