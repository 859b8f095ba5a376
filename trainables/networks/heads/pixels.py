"""What the heads that work on single pixels begin and end with."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.embedding import images_of, pixels_of
from trainables.networks.norm import EPS
from trainables.networks.sizes import PIXEL_WAVES

WAVES_A_SIDE = math.isqrt(PIXEL_WAVES)


class PixelFeatures(nn.Module):
    """A pixel's channels and 64 cosines of its place in the patch through one linear map (PixNerd's NeRF embedding)."""

    waves: Tensor

    def __init__(self, *, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.expand = nn.Linear(channels + PIXEL_WAVES, width)
        self.register_buffer("waves", pixel_waves(patch), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """[B, C, H, W] -> [B N, patch^2, width]."""
        pixels = pixels_of(z, self.patch)
        features: Tensor = self.expand(torch.cat((pixels, self.waves.expand(len(pixels), -1, -1)), dim=-1))
        return features


def pixel_waves(patch: int) -> Tensor:
    """cos(pi a x) cos(pi b y) / (1 + a b) of each pixel, float32 [patch^2, 64]: x and y are its column and row over 0 to 1,
    a and b eight frequencies from 0 to 8."""
    axis, frequencies = torch.linspace(0, 1, patch), torch.linspace(0, WAVES_A_SIDE, WAVES_A_SIDE)
    wave = (math.pi * axis[:, None] * frequencies).cos()
    product = wave[None, :, :, None] * wave[:, None, None, :]  # row, column, a, b
    return (product / (1 + torch.outer(frequencies, frequencies))).flatten(2).flatten(0, 1)


class PixelNorm(nn.Module):
    """RMSNorm with a learned weight over the few numbers of a pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., width]."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight, EPS)


def image_of_pixels(pixels: Tensor, like: Tensor, patch: int) -> Tensor:
    """[B N, patch^2, C] -> [B, C, H, W], the shape of `like`."""
    return images_of(pixels.reshape(len(like), -1, patch * patch * like.shape[1]), patch, like.shape[1])
