"""The diffusion maths: what the network sees and what its output means.

One notation throughout: `x` clean image in [-1, 1], `e` noise (noise_scale times a standard normal), `z = t x + (1 - t) e`,
`v = x - e`; t = 1 is clean. Images are float32 [B, C, H, W], times float32 [B].
`t_eps` clamps the denominators alone, d = max(1 - t, t_eps) and c = max(t, t_eps); 0 is off. JiT (arXiv 2511.13720) ships
x-prediction with v-loss and clamps d; this is its table 1 with one rule for all nine cells.
"""

from torch import Tensor

from trainables.config.diffusion import Target


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


def floored(value: Tensor, t_eps: float | Tensor) -> Tensor:
    """max(value, t_eps) of values that are at least 0, so that 0 is no clamp; t_eps may be a scalar tensor."""
    return value.clamp(min=t_eps)


def per_image(t: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return t.view(-1, 1, 1, 1)
