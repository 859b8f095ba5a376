"""A plain MLP as a network's trunk: the toy's, for images that are one token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs, Part
from trainables.networks.sizes import TIME_FEATURES, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MlpTrunk:
    """Time and class added to the token, then `depth` linear maps with ReLU."""

    trial: TrialConfig
    embedding: Part
    head: Part

    def parameters(self) -> int:
        d = self.trial.model.width
        time = TIME_FEATURES * d + d + d * d + d
        return time + (self.trial.data.num_classes + 1) * d + self.trial.model.depth * (d * d + d)

    def macs(self) -> Macs:
        """The sinusoids of t are data."""
        d = self.trial.model.width
        return Macs(TIME_FEATURES * d + d * d + self.trial.model.depth * d * d, input_gradient=TIME_FEATURES * d)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The input of each map, and of the head; nothing is recomputed."""
        return (self.trial.model.depth + 1) * self.trial.model.width * activation_bytes(self.trial)

    def initial(self, name: str) -> Initial:
        """torch's own for the maps, the condition as JiT's."""
        if name.startswith("maps."):
            return "torch"
        return "zeros" if name.endswith("bias") else "normal"

    def module(self) -> "nn.Module":
        """The whole network: the trunk takes the embedding and the head in."""
        from trainables.networks.plain_mlp import PlainMlp

        return PlainMlp(self.trial, embedding=self.embedding.module(), head=self.head.module())
