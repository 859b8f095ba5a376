"""From images to tokens and back, and the two conditions: time and class."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.networks.sizes import TIME_FEATURES, conv_stem_channels

CLOCK = 1000.0
"""What counts t in PixelFlow."""


def patches_of(images: Tensor, patch: int) -> Tensor:
    """[B, C, H, W] -> [B, N, C patch^2]: row-major patches, each ordered channel, row, column."""
    b, c, h, w = images.shape
    cut = images.view(b, c, h // patch, patch, w // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // patch) * (w // patch), c * patch * patch)


def pixels_of(images: Tensor, patch: int) -> Tensor:
    """[B, C, H, W] -> [B N, patch^2, C]: the pixels of each row-major patch, ordered row, column."""
    channels = images.shape[1]
    pixels: Tensor = patches_of(images, patch).flatten(0, 1).unflatten(-1, (channels, patch * patch)).transpose(1, 2)
    return pixels


def images_of(patches: Tensor, patch: int, channels: int) -> Tensor:
    """[B, N, patch^2 C] -> [B, C, H, W]: each patch ordered row, column, channel, as the official final layer has it."""
    b, n, _ = patches.shape
    grid = math.isqrt(n)
    cut = patches.view(b, grid, grid, patch, patch, channels)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(b, channels, grid * patch, grid * patch)


def images_of_patches(patches: Tensor, patch: int, channels: int) -> Tensor:
    """The way back of `patches_of`, [B, N, C patch^2] -> [B, C, H, W]."""
    return images_of(patches.unflatten(-1, (channels, -1)).transpose(-1, -2).flatten(-2), patch, channels)


class LinearPatches(nn.Module):
    """One linear map from a patch to a token."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        self.patch = trial.seen_patch
        self.expand = nn.Linear(trial.token_dim, trial.model.width)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        tokens: Tensor = self.expand(patches_of(images, self.patch))
        return tokens


class BottleneckPatches(nn.Module):
    """Two linear maps, patch -> dim -> D, the first without bias (JiT, section 3)."""

    def __init__(self, trial: TrialConfig, dim: int) -> None:
        super().__init__()
        self.patch = trial.seen_patch
        self.reduce = nn.Linear(trial.token_dim, dim, bias=False)
        self.expand = nn.Linear(dim, trial.model.width)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        tokens: Tensor = self.expand(self.reduce(patches_of(images, self.patch)))
        return tokens


class ConvStem(nn.Module):
    """3x3 convolutions of stride 2 with SiLU until a pixel is a patch, then one linear map (arXiv 2106.14881)."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        channels = (trial.canvas.channels, *conv_stem_channels(trial.model))
        self.stem = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)])
        self.expand = nn.Linear(channels[-1], trial.model.width)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        for conv in self.stem:
            images = F.silu(conv(images))
        tokens: Tensor = self.expand(images.flatten(2).transpose(1, 2))
        return tokens


class TimeEmbedding(nn.Module):
    """Sinusoids of t, fed raw in [0, 1], through a two-layer MLP (DiT's, with t not multiplied by 1000: as JiT).

    `scale` multiplies t first; `ends`: the last sinusoid has the whole period, and not nearly (diffusers).
    """

    frequencies: Tensor

    def __init__(
        self, width: int, *, period: float, features: int = TIME_FEATURES, scale: float = 1.0, ends: bool = False
    ) -> None:
        super().__init__()
        count, self.scale = features // 2, scale
        exponent = -math.log(period) * torch.arange(count, dtype=torch.float32) / (count - ends)
        self.register_buffer("frequencies", exponent.exp(), persistent=False)
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """float32 [B] -> [B, D]."""
        angle = (self.scale * t.float())[:, None] * self.frequencies
        embedded: Tensor = self.second(F.silu(self.first(torch.cat((angle.cos(), angle.sin()), dim=-1))))
        return embedded
