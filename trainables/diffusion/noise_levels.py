"""Noise levels that training snaps to, and how much the x-error counts at each (EPG, arXiv 2510.12586).

Levels are of EDM's grid, in sigma = (1 - t) / t; t [B] is in (0, 1).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.diffusion.karras_grid import FIRST_ROOT, LAST_ROOT, RHO
from trainables.diffusion.maths import per_image

DATA = 0.5
"""Standard deviation of the images that EDM's input scaling assumes."""
CLOCK = 250.0
"""By which ln(sigma) is multiplied before the network is told it."""


class AtLevel(NamedTuple):
    """What a network is given of an image at a noise level."""

    z: Tensor
    """[B, C, H, W]."""
    time: Tensor
    """250 ln(sigma), [B]."""


def at_level(x: Tensor, e: Tensor, sigma: Tensor, noise_scale: float | Tensor) -> AtLevel:
    """x + sigma e over sqrt(sigma^2 + 1/4), of images [B, C, H, W] at sigmas [B] times the standard deviation of e."""
    noise = noise_scale * sigma
    scale = (noise.square() + DATA**2).sqrt()
    return AtLevel((x + per_image(sigma) * e) / per_image(scale), CLOCK * noise.log())


def snapped(t: Tensor, levels: int) -> Tensor:
    """The time of the level next to each, [B] in t's dtype."""
    table = _table(levels, t.device)
    level: Tensor = 1 / (1 + table[_nearest(t, table)])
    return level.to(t.dtype)


def level_weight(t: Tensor, levels: int) -> Tensor:
    """1 / (sigma_i - sigma_(i + 1)) of the level i next to each time, float32 [B]; behind the last the grid goes on.

    Levels are float32 and the next one is worked out in that, as EPG does: its differences are no more exact than that.
    """
    table = _table(levels, t.device)
    number = _nearest(t, table)
    after = (FIRST_ROOT + (number + 1) / (levels - 1) * (LAST_ROOT - FIRST_ROOT)) ** RHO
    weight: Tensor = 1 / (table[number] - after)
    return weight


def _table(levels: int, device: torch.device) -> Tensor:
    """The grid, float32 [levels]."""
    place = torch.arange(levels, dtype=torch.float64, device=device) / (levels - 1)
    table: Tensor = (FIRST_ROOT + place * (LAST_ROOT - FIRST_ROOT)) ** RHO
    return table.float()


def _nearest(t: Tensor, table: Tensor) -> Tensor:
    """The number of the level next to each time's sigma, int64 [B]."""
    apart: Tensor = ((1 - t) / t)[:, None] - table
    return apart.abs().argmin(dim=1)
