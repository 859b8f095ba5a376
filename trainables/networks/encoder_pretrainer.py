"""The encoder of EPG's network with what its class token is projected by while it is pre-trained (arXiv 2510.12586)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.method import EncoderPretrainingMethod
from trainables.config.trial import TrialConfig
from trainables.config.trunks import EncoderPretrainerTrunk
from trainables.networks.encoder_decoder import Encoder
from trainables.networks.network import Network

EPS = 1e-5
"""Of the norm over a group."""


class GroupedBatchNorm(nn.Module):
    """Batch normalisation over fixed groups of images, in float32: by their own mean and variance, in evaluation too."""

    def __init__(self, width: int, *, group: int) -> None:
        super().__init__()
        self.group = group
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, W], B a multiple of the group -> float32 [B, W]."""
        groups = x.float().unflatten(0, (-1, self.group))
        variance, mean = torch.var_mean(groups, dim=1, correction=0, keepdim=True)
        normed: Tensor = (groups - mean) * (variance + EPS).rsqrt() * self.weight + self.bias
        return normed.flatten(0, 1)


class GroupedProjector(nn.Module):
    """Three linear maps without biases, a norm over the group and ReLU between."""

    def __init__(self, width: int, trunk: EncoderPretrainerTrunk, *, group: int) -> None:
        super().__init__()
        hidden = trunk.projector_width
        self.first, self.norm1 = nn.Linear(width, hidden, bias=False), GroupedBatchNorm(hidden, group=group)
        self.second, self.norm2 = nn.Linear(hidden, hidden, bias=False), GroupedBatchNorm(hidden, group=group)
        self.third = nn.Linear(hidden, trunk.projected_width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, D] -> float32 [B, P]."""
        hidden = F.relu(self.norm1(self.first(tokens)))
        projected: Tensor = self.third(F.relu(self.norm2(self.second(hidden))))
        return projected.float()


class Known(NamedTuple):
    """What an encoder knows of images."""

    tokens: Tensor
    """Class tokens, float32 [B, D]."""
    projected: Tensor
    """Those of the first of them, [K, P]; where none are, [0, D]."""


class EncoderPretrainer(Network):
    """`encoder` is that of `trainables.networks.encoder_decoder.EncoderDecoder`, by name and shape."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        trunk, method, self.trial = trial.model.trunk, trial.method, trial
        assert isinstance(trunk, EncoderPretrainerTrunk)
        assert isinstance(method, EncoderPretrainingMethod)
        self.encoder = Encoder(trial)
        self.projector = GroupedProjector(trial.model.width, trunk, group=method.group)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, time: Tensor, *, projected: int) -> Known:
        """z float32 [B, C, H, W], time float32 [B] as it is told; `projected`: the first so many, whole groups."""
        last = self.encoder(self, z, self.encoder.time(time))[-1]
        tokens: Tensor = self.encoder.norm(last[:, 0])
        return Known(tokens, self.projector(tokens[:projected]) if projected else tokens[:0])
