"""The terms that a loss is summed from: each compares the network's output with the truth, image by image."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.diffusion.frequencies import weighted_frequencies

SMALLEST_SCALE = 4
"""Pixels along the smallest image of the multiscale term."""


class LossTerm(Protocol):
    """One term. It runs inside a compiled step: tensors in, tensors out, and no branch on a tensor's values."""

    def __call__(self, ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
        """Of each image, [B]: what the network says and what is true, in one space, [B, C, H, W], at t [B]."""


def squared_error(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    """Mean squared difference of each image over its pixels, [B]."""
    return (ours - true).square().flatten(1).mean(dim=1)


def cosine(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    """1 - cos between the two over the channels of each pixel, mean over the pixels, [B] (LightningDiT)."""
    return (1 - F.cosine_similarity(ours, true, dim=1)).flatten(1).mean(1)


def frequency(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    """The error's squared DCT coefficients in YCbCr times JPEG's weights, mean over all of them, [B] (DeCo)."""
    return weighted_frequencies(ours - true)


def multiscale(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    """Sum over s = 4, 8, ... up to the image's side of 1/s mean (D_s(ours) - D_s(true))^2, [B] (simple diffusion).

    D_s averages an image down to s x s; the mean is over channels and the s x s pixels. arXiv 2301.11093 leaves the latter
    open.
    """
    sides = scales(ours.shape[-1])
    squared = [F.adaptive_avg_pool2d(ours - true, side).square().flatten(1).mean(1) / side for side in sides]
    return torch.stack(squared).sum(0)


def scales(side: int) -> list[int]:
    """4 and its doublings up to an image's side; the side alone where it is below 4."""
    found = [SMALLEST_SCALE << i for i in range(side.bit_length()) if SMALLEST_SCALE << i <= side]
    return found or [side]


TERMS: dict[str, LossTerm] = {
    "squared_error": squared_error,
    "cosine": cosine,
    "frequency": frequency,
    "multiscale": multiscale,
}
"""By `WeightedTerm.kind`; the squared error is always there."""
