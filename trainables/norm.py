"""The normalisations: before a block's two halves with adaLN's shift and scale, and of q and k within a head."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

EPS = 1e-6


class _RmsNormalise(torch.autograd.Function):
    """x / rms(x) over the last dimension with a backward of four passes: torch has no fused kernel for it on a CPU."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(x.shape[-1])
        scale = mean_square.add_(EPS).rsqrt_().to(x.dtype)
        normal: Tensor = x * scale
        ctx.save_for_backward(normal, scale)
        return normal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        normal, scale = ctx.saved_tensors
        along = (gradient * normal).sum(dim=-1, keepdim=True).div_(-normal.shape[-1])
        return torch.addcmul(gradient, normal, along).mul_(scale)


def rms_normalise(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + 1e-6) over the last dimension, in x's dtype (RMSNorm, arXiv 1910.07467)."""
    if x.is_cuda:
        return F.rms_norm(x, x.shape[-1:], eps=EPS)
    normal: Tensor = _RmsNormalise.apply(x)  # type: ignore[no-untyped-call]
    return normal


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
        return torch.addcmul(shift, rms_normalise(x), torch.addcmul(self.weight, self.weight, scale))


class HeadNorm(nn.Module):
    """RMSNorm over a head's width with a learned weight, for q and k; keeps x's dtype."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., head_dim]."""
        # A weight of another dtype would promote x, and with it q and k, off the fused attention.
        return rms_normalise(x) * self.weight.to(x.dtype)
