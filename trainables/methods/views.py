"""Views of an image that an encoder is to know it by: crops, some of them mirrored, brought back to the image's size."""

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS, NUMBERS = 2, 4
"""Views of an image, and numbers that make one."""


def view(x: Tensor, numbers: Tensor, *, least_side: float) -> Tensor:
    """Of images [B, C, H, W], one each, by numbers [B, 4] in [0, 1]: mirrored where the first is above one half; the side of
    the crop from `least_side` of the image's to the whole; where it lies from left to right, and from top to bottom."""
    mirrored, side, across, down = numbers.to(x.dtype).unbind(1)
    share = least_side + (1 - least_side) * side
    zero, turned = torch.zeros_like(share), torch.where(mirrored > 0.5, -share, share)
    rows = (
        torch.stack((turned, zero, (1 - share) * (2 * across - 1)), dim=1),
        torch.stack((zero, share, (1 - share) * (2 * down - 1)), dim=1),
    )
    places = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, places, mode="bilinear", padding_mode="border", align_corners=False)
