"""The diffusion maths: what the network sees, what its output means and what the loss compares.

One notation throughout: `x` clean image in [-1, 1], `e` noise (noise_scale times a standard normal), `z = t x + (1 - t) e`,
`v = x - e`; t = 1 is clean. Images are float32 [B, C, H, W], times float32 [B].
`t_eps` clamps the denominators alone, d = max(1 - t, t_eps) and c = max(t, t_eps); 0 is off. JiT (arXiv 2511.13720) ships
x-prediction with v-loss and clamps d; this is its table 1 with one rule for all nine cells.
"""

import torch
from torch import Tensor

from trainables.config.trial import DiffusionConfig, LogitNormal, Target, TSampling, Uniform

BELOW_ONE = 1.0 - 2.0**-24
"""The largest float32 below 1."""


def times(u: Tensor, t_sampling: TSampling) -> Tensor:
    """t by the quantile function, from u in (0, 1), float64 [B] -> float32 [B] in (0, 1).

    Every distribution of t uses the same u, so that trials which differ in it are paired.
    """
    match t_sampling:
        case LogitNormal(mu=mu, sigma=sigma):
            t = torch.sigmoid(mu + sigma * torch.special.ndtri(u))
        case Uniform():
            t = u
    # Rounding to float32 alone could reach 1, where an unclamped 1 - t is zero.
    return t.to(torch.float32).clamp(max=BELOW_ONE)


def noisy(x: Tensor, e: Tensor, t: Tensor) -> Tensor:
    """z = t x + (1 - t) e, [B, C, H, W]."""
    t = per_image(t)
    return t * x + (1 - t) * e


def target_of(x: Tensor, e: Tensor, space: Target) -> Tensor:
    """The true output o* in a space: x, e or x - e, [B, C, H, W]."""
    match space:
        case "x":
            return x
        case "eps":
            return e
        case "v":
            return x - e


def convert(output: Tensor, z: Tensor, t: Tensor, *, source: Target, target: Target, t_eps: float | Tensor) -> Tensor:
    """M(source -> target): what an output o in one space says in another, [B, C, H, W] (JiT, table 1).

    The inverse of M(target -> source) where 1 - t >= t_eps and t >= t_eps, and only there.
    """
    o, t = output, per_image(t)
    match source, target:
        case "x", "v":
            return (o - z) / floored(1 - t, t_eps)
        case "x", "eps":
            return (z - t * o) / floored(1 - t, t_eps)
        case "eps", "x":
            return (z - (1 - t) * o) / floored(t, t_eps)
        case "eps", "v":
            # At t = 0 the numerator of a good network is zero, so its first sampling step is too: a weakness of eps-prediction.
            return (z - o) / floored(t, t_eps)
        case "v", "x":
            return z + (1 - t) * o
        case "v", "eps":
            return z - t * o
    return o


def loss(
    output: Tensor,
    x: Tensor,
    e: Tensor,
    z: Tensor,
    t: Tensor,
    diffusion: DiffusionConfig,
    *,
    t_eps: float | Tensor | None = None,
) -> Tensor:
    """mean (M(o) - M(o*))^2 of each image over its pixels, [B]; t_eps is the configured one where none is given.

    o* goes through the same conversion as o, so a perfect output has exactly zero loss at every t in every cell; x-prediction
    with v-loss is the official JiT loss. Regressing x - e against a clamped (o - z) / d instead trains to black images.
    """
    clamp = diffusion.t_eps_train if t_eps is None else t_eps

    def compared(o: Tensor) -> Tensor:
        return convert(o, z, t, source=diffusion.prediction, target=diffusion.loss, t_eps=clamp)

    error = compared(output) - compared(target_of(x, e, diffusion.prediction))
    return error.square().flatten(1).mean(dim=1)


def floored(value: Tensor, t_eps: float | Tensor) -> Tensor:
    """max(value, t_eps) of values that are at least 0, so that 0 is no clamp; t_eps may be a scalar tensor."""
    return value.clamp(min=t_eps)


def per_image(t: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return t.view(-1, 1, 1, 1)
