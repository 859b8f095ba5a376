"""The terms that a loss is summed from: each compares the network's output with the truth, image by image."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config.diffusion import DiffusionConfig, Target
from trainables.diffusion.frequencies import weighted_frequencies
from trainables.diffusion.maths import convert, target_of

SMALLEST_SCALE = 4
"""Pixels along the smallest image of the multiscale term."""


class LossTerm(Protocol):
    """One term. It runs inside a compiled step: tensors in, tensors out, and no branch on a tensor's values."""

    def __call__(
        self, output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
    ) -> Tensor:
        """Of each image, [B]; output, x, e, z [B, C, H, W], t [B]; `t_eps` clamps conversions, as in `maths.convert`."""


def squared_error(
    output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
) -> Tensor:
    """mean (M(o) - M(o*))^2 of each image over its pixels, in the space of the loss, [B].

    o* goes through the same conversion as o, so a perfect output has exactly zero loss at every t in every cell; x-prediction
    with v-loss is the official JiT loss. Regressing x - e against a clamped (o - z) / d instead trains to black images.
    """

    ours, true = _compared(output, x, e, z, t, diffusion, space=diffusion.error_space, t_eps=t_eps)
    return (ours - true).square().flatten(1).mean(dim=1)


def cosine(
    output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
) -> Tensor:
    """1 - cos between M(o) and M(o*) over the channels of each pixel, mean over the pixels, [B] (LightningDiT)."""
    ours, true = _compared(output, x, e, z, t, diffusion, space=diffusion.loss, t_eps=t_eps)
    return (1 - F.cosine_similarity(ours, true, dim=1)).flatten(1).mean(1)


def frequency(
    output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
) -> Tensor:
    """The error's squared DCT coefficients in YCbCr times JPEG's weights, mean over all of them, [B] (DeCo)."""
    ours, true = _compared(output, x, e, z, t, diffusion, space=diffusion.loss, t_eps=t_eps)
    return weighted_frequencies(ours - true)


def multiscale(
    output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
) -> Tensor:
    """Sum over s = 4, 8, ... up to the image's side of 1/s mean (D_s(M(o)) - D_s(M(o*)))^2, [B] (simple diffusion).

    D_s averages an image down to s x s; the mean is over channels and the s x s pixels. arXiv 2301.11093 leaves the latter
    open.
    """
    ours, true = _compared(output, x, e, z, t, diffusion, space=diffusion.loss, t_eps=t_eps)
    sides = scales(ours.shape[-1])
    squared = [F.adaptive_avg_pool2d(ours - true, side).square().flatten(1).mean(1) / side for side in sides]
    return torch.stack(squared).sum(0)


def scales(side: int) -> list[int]:
    """4 and its doublings up to an image's side; the side alone where it is below 4."""
    found = [SMALLEST_SCALE << i for i in range(side.bit_length()) if SMALLEST_SCALE << i <= side]
    return found or [side]


class _Compared(NamedTuple):
    ours: Tensor
    true: Tensor


def _compared(
    output: Tensor,
    x: Tensor,
    e: Tensor,
    z: Tensor,
    t: Tensor,
    diffusion: DiffusionConfig,
    *,
    space: Target,
    t_eps: float | Tensor,
) -> _Compared:
    """M(o) and M(o*) in a space, [B, C, H, W]."""

    def converted(o: Tensor) -> Tensor:
        return convert(o, z, t, source=diffusion.prediction, target=space, t_eps=t_eps)

    return _Compared(converted(output), converted(target_of(x, e, diffusion.prediction)))


TERMS: dict[str, LossTerm] = {
    "squared_error": squared_error,
    "cosine": cosine,
    "frequency": frequency,
    "multiscale": multiscale,
}
"""By `WeightedTerm.kind`; the squared error is always there."""
