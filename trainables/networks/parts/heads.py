"""From the normalised tokens [B, N, D] to patches [B, N, patch^2 C]."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import image_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LinearHeadPart:
    """One linear map with bias, zero at first: a fresh network predicts zero."""

    trial: TrialConfig

    def parameters(self) -> int:
        return self.trial.model.width * self.trial.token_dim + self.trial.token_dim

    def macs(self) -> Macs:
        return Macs(self.trial.grid**2 * self.trial.model.width * self.trial.token_dim)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Its output."""
        return image_bytes(self.trial)

    def initial(self, name: str) -> Initial:
        return "zeros"

    def module(self) -> "nn.Module":
        from torch import nn

        return nn.Linear(self.trial.model.width, self.trial.token_dim)
