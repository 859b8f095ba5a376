"""From images [B, C, H, W] to tokens [B, N, D]."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from trainables.config.network import BottleneckEmbedding
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import conv_stem_channels, image_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LinearPart:
    """One linear map with bias."""

    trial: TrialConfig

    def parameters(self) -> int:
        return self.trial.token_dim * self.trial.model.width + self.trial.model.width

    def macs(self) -> Macs:
        macs = self.trial.grid**2 * self.trial.token_dim * self.trial.model.width
        return Macs(macs, input_gradient=macs)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The images, cut into patches."""
        return image_bytes(self.trial)

    def initial(self, name: str) -> Initial:
        return weights_or_bias(name)

    def module(self) -> "nn.Module":
        from trainables.networks.embedding import LinearPatches

        return LinearPatches(self.trial)


@dataclass(frozen=True)
class BottleneckPart:
    """Two linear maps, the first without bias."""

    trial: TrialConfig

    @property
    def dim(self) -> int:
        embedding = self.trial.model.embedding
        assert isinstance(embedding, BottleneckEmbedding)
        return embedding.dim

    def parameters(self) -> int:
        width = self.trial.model.width
        return self.trial.token_dim * self.dim + self.dim * width + width

    def macs(self) -> Macs:
        tokens, first = self.trial.grid**2, self.trial.token_dim * self.dim
        return Macs(tokens * (first + self.dim * self.trial.model.width), input_gradient=tokens * first)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The images, cut into patches."""
        return image_bytes(self.trial)

    def initial(self, name: str) -> Initial:
        return weights_or_bias(name)

    def module(self) -> "nn.Module":
        from trainables.networks.embedding import BottleneckPatches

        return BottleneckPatches(self.trial, self.dim)


@dataclass(frozen=True)
class ConvStemPart:
    """Convolutions of stride 2, then one linear map."""

    trial: TrialConfig

    @property
    def channels(self) -> tuple[int, ...]:
        return (self.trial.canvas.channels, *conv_stem_channels(self.trial.model))

    def parameters(self) -> int:
        width = self.trial.model.width
        return sum(9 * a * b + b for a, b in pairwise(self.channels)) + self.channels[-1] * width + width

    def macs(self) -> Macs:
        sides = [self.trial.canvas.side >> i for i in range(1, len(self.channels))]
        stem = [9 * a * b * side**2 for (a, b), side in zip(pairwise(self.channels), sides, strict=True)]
        tokens = self.trial.grid**2 * self.channels[-1] * self.trial.model.width
        return Macs(sum(stem) + tokens, input_gradient=stem[0])

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The images; what the stem keeps is small beside the blocks and not counted."""
        return image_bytes(self.trial)

    def initial(self, name: str) -> Initial:
        return weights_or_bias(name)

    def module(self) -> "nn.Module":
        from trainables.networks.embedding import ConvStem

        return ConvStem(self.trial)


def weights_or_bias(name: str) -> Initial:
    """Biases start at zero, matrices as Xavier has them."""
    return "zeros" if name.endswith("bias") else "xavier"
