"""The normalisations: before a block's two halves with adaLN's shift and scale, and of q and k within a head."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


class _ScaledRms(torch.autograd.Function):
    """x / rms(x) gain + shift with a backward of six passes: torch has no fused kernel for it on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor | None) -> Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean_square.add_(EPS).rsqrt_()
        normal = x * inverse
        ctx.save_for_backward(normal, inverse, gain)
        ctx.shift_shape = None if shift is None else shift.shape
        out: Tensor = normal * gain if shift is None else torch.addcmul(shift, normal, gain)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        normal, inverse, gain = ctx.saved_tensors
        of_shift = None if ctx.shift_shape is None else gradient.sum_to_size(ctx.shift_shape)
        product = gradient * normal
        along = (product @ gain.mT).div_(-normal.shape[-1])
        of_x = (gradient * gain).addcmul_(normal, along).mul_(inverse)
        return of_x, product.sum_to_size(gain.shape), of_shift


def rms_normalise(x: Tensor, gain: Tensor, shift: Tensor | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + 1e-6) gain + shift over the last dimension, in x's dtype (RMSNorm, arXiv 1910.07467).

    x [..., D]; gain and shift broadcast to x and have its last dimension and at least one before it.
    """
    if x.is_cuda or torch.compiler.is_compiling():
        normal = F.rms_norm(x, x.shape[-1:], eps=EPS)
        return normal * gain if shift is None else torch.addcmul(shift, normal, gain)
    out: Tensor = _ScaledRms.apply(x, gain, shift)  # type: ignore[no-untyped-call]
    return out


class ModulatedNorm(nn.Module):
    """norm(x) (1 + scale) + shift (adaLN, DiT section 3.2): RMSNorm with a learned weight, or LayerNorm without one."""

    def __init__(self, kind: Literal["rms", "layer"], width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(width)) if kind == "rms" else None

    def forward(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """x float32 [B, T, D]; shift and scale float32 [B, 1, D]."""
        if self.weight is None:
            return torch.addcmul(shift, F.layer_norm(x, (self.width,), eps=EPS), 1 + scale)
        # The weight joins the scale, [B, 1, D], rather than the tokens, [B, T, D].
        return rms_normalise(x, torch.addcmul(self.weight, self.weight, scale), shift)


class HeadNorm(nn.Module):
    """RMSNorm over a head's width with a learned weight, for q and k; keeps x's dtype."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., head_dim]."""
        # A weight of another dtype would promote x, and with it q and k, off the fused attention.
        return rms_normalise(x, self.weight.to(x.dtype)[None])
