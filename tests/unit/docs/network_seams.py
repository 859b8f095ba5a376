"""Throw-away parts of a network, and the network that is built from each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tests.support.trials import batch, small_model, small_trial
from tests.unit.docs.plan_seams import Add, Proof
from trainables.config.fields import Frozen
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.embedding import images_of
from trainables.networks.network import Network
from trainables.networks.parts.part import Initial, Macs, Part
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


@dataclass(frozen=True)
class BareTrunk:
    """One linear map between the embedding and the head; it hears neither t nor the class."""

    trial: TrialConfig
    embedding: Part
    head: Part

    def parameters(self) -> int:
        return self.trial.model.width**2

    def macs(self) -> Macs:
        return Macs(self.trial.grid**2 * self.parameters())

    def activation_bytes(self, *, recomputed: bool) -> int:
        return 0

    def initial(self, name: str) -> Initial:
        return "ones"

    def module(self) -> nn.Module:
        return _BareNetwork(self.trial, embedding=self.embedding.module(), head=self.head.module())


class _BareNetwork(Network):
    def __init__(self, trial: TrialConfig, *, embedding: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trial, self.activation_checkpointing = trial, False
        self.embedding, self.head = embedding, head
        self.map = nn.Linear(trial.model.width, trial.model.width, bias=False)
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return images_of(self.head(self.map(self.embedding(z))), self.trial.model.patch_size, z.shape[1])


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


def trunk(add: Add, _: Path) -> None:
    """A trunk that a network is then built around, in the place of JiT's."""
    trial = small_trial(small_model())
    plain = parameter_count(trial)
    add(trial.model.trunk.kind, BareTrunk)
    network = build(trial)
    assert isinstance(network, _BareNetwork)
    assert (network.map.weight == 1).all()
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters()) != plain
    z, t, y = batch(2)
    assert network(z, t, y).shape == z.shape


@dataclass(frozen=True)
class PointwisePart:
    """One map of each pixel, in the place of a U-Net."""

    trial: TrialConfig

    def parameters(self) -> int:
        return self.trial.channels**2

    def macs(self) -> Macs:
        return Macs(self.trial.grid**2 * self.parameters())

    def activation_bytes(self, *, recomputed: bool) -> int:
        return 0

    def initial(self, name: str) -> Initial:
        return "ones"

    def module(self) -> nn.Module:
        return _PointwiseNetwork(self.trial)


class _PointwiseNetwork(Network):
    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        self.trial, self.activation_checkpointing = trial, False
        self.map = nn.Conv2d(trial.channels, trial.channels, 1, bias=False)
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        out: Tensor = self.map(z)
        return out


def network_of_pixels(add: Add, _: Path) -> None:
    """A network without embedding and head that is then built in the place of a U-Net."""
    trial = small_trial(small_model(trunk={"kind": "unet", "width": 32}))
    add(trial.model.trunk.kind, PointwisePart)
    network = build(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters()) == 9
    z, t, y = batch(2)
    assert network(z, t, y).shape == z.shape


PROOFS: dict[str, Proof] = {
    "whole network": network_of_pixels,
    "network embedding": embedding,
    "network head": head,
    "network trunk": trunk,
}
