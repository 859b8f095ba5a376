"""JPEG's view of an image: YCbCr, 8 x 8 DCT blocks, and how much each frequency counts (DeCo, arXiv 2511.19365)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config.trial import DCT_SIDE

QUALITY = 85
"""JPEG's, by which the tables are scaled."""
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Rows Y, Cb and Cr over R, G, B, without their offset: what is transformed is an error."""
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU T.81, table K.1."""
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * DCT_SIDE for _ in range(4)),
)
"""ITU T.81, table K.2."""


def weighted_frequencies(error: Tensor) -> Tensor:
    """Mean over channels, blocks and frequencies of w times the squared DCT of the error in YCbCr, [B, 3, H, W] -> [B].

    The image is reflected at its right and lower edge to a multiple of 8.
    """
    ycbcr = torch.einsum("kc,bchw->bkhw", torch.tensor(YCBCR, device=error.device), error)
    down, right = (-side % DCT_SIDE for side in error.shape[-2:])
    blocks = F.pad(ycbcr, (0, right, 0, down), mode="reflect").unfold(2, DCT_SIDE, DCT_SIDE).unfold(3, DCT_SIDE, DCT_SIDE)
    basis = dct_basis().to(error.device)
    coefficients = basis @ blocks @ basis.T  # [B, 3, H/8, W/8, 8, 8]
    weights = frequency_weights().to(error.device)[:, None, None]
    return (weights * coefficients.square()).flatten(1).mean(1)


def dct_basis() -> Tensor:
    """The orthonormal DCT-II of 8 numbers, float32 [8, 8], a frequency a row."""
    k = torch.arange(DCT_SIDE, dtype=torch.float64)
    basis = (math.pi / DCT_SIDE * k[:, None] * (k + 0.5)).cos() * math.sqrt(2 / DCT_SIDE)
    basis[0] /= math.sqrt(2)
    return basis.float()


def frequency_weights() -> Tensor:
    """Inverse quantisation steps over their own mean, float32 [3, 8, 8] for Y, Cb and Cr."""
    base = torch.tensor((LUMINANCE, CHROMINANCE, CHROMINANCE), dtype=torch.float64)
    steps = ((base * (200 - 2 * QUALITY) + 50) / 100).floor().clamp(1, 255)
    weights = steps.mean((1, 2), keepdim=True) / steps
    return (weights / weights.mean((1, 2), keepdim=True)).float()
