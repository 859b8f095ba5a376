"""Gaussian blur with mirrored edges, in which blurs add up: the heat equation's."""

import math

import torch
from torch import Tensor


def blurred(x: Tensor, *, variance: float) -> Tensor:
    """Blurred by a Gaussian of this variance in square pixels, [B, C, H, W]; two blurs are one of the summed variance."""
    if variance == 0:
        return x
    down, right = (_kernel(side, variance, x) for side in x.shape[-2:])
    with torch.autocast(x.device.type, enabled=False):
        return down @ x.float() @ right


def _kernel(side: int, variance: float, like: Tensor) -> Tensor:
    """Of one axis, symmetric, float32 [side, side]: frequency k of the cosine transform falls by exp(-(pi k / side)^2 / 2) to
    the variance."""
    k = torch.arange(side, device=like.device, dtype=torch.float32)
    waves = (math.pi / side * k[:, None] * (k + 0.5)).cos() * math.sqrt(2 / side)
    scaled = torch.where(k[:, None] == 0, waves / math.sqrt(2), waves)
    return scaled.T @ ((-0.5 * variance * (math.pi * k / side).square()).exp()[:, None] * scaled)
