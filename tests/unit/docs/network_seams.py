"""Throw-away parts of a network, and the network that is built from each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from tests.support.trials import batch, small_model, small_trial
from tests.unit.docs.plan_seams import Add, Proof
from trainables.config.fields import Frozen
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.registry import build


class Bare(Frozen):
    """A part without biases."""

    kind: Literal["bare"] = "bare"


@dataclass(frozen=True)
class _BarePart:
    trial: TrialConfig

    def parameters(self) -> int:
        return self.trial.model.width * self.trial.token_dim

    def macs(self) -> Macs:
        return Macs(self.trial.grid**2 * self.parameters())

    def activation_bytes(self, *, recomputed: bool) -> int:
        return 0

    def initial(self, name: str) -> Initial:
        return "xavier"


class BareHead(_BarePart):
    """From a token to a patch."""

    def module(self) -> nn.Module:
        return nn.Linear(self.trial.model.width, self.trial.token_dim, bias=False)


class BareEmbedding(_BarePart):
    """From a patch to a token."""

    def module(self) -> nn.Module:
        return _Patches(self.trial)


class _Patches(nn.Module):
    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        patch = trial.model.patch_size
        self.cut = nn.Conv2d(trial.data.channels, trial.model.width, patch, stride=patch, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        tokens: Tensor = self.cut(images).flatten(2).transpose(1, 2)
        return tokens


def is_built_and_counted(part: str) -> None:
    plain = small_trial(small_model())
    trial = plain.model_copy(update={"model": plain.model.model_copy(update={part: Bare()})})
    network = build(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    assert parameter_count(trial) != parameter_count(plain)
    z, t, y = batch(2)
    assert network(z, t, y).shape == z.shape


def embedding(add: Add, _: Path) -> None:
    """An embedding that a network is then built with."""
    add("bare", BareEmbedding)
    is_built_and_counted("embedding")


def head(add: Add, _: Path) -> None:
    """A head that a network is then built with."""
    add("bare", BareHead)
    is_built_and_counted("head")


PROOFS: dict[str, Proof] = {
    "network embedding": embedding,
    "network head": head,
}
