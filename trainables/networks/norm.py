"""The normalisations: of the residual stream before a block's two halves, and of q and k within a head."""

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.recipe import Kernels
from trainables.networks.kernel_choice import on_triton

EPS = 1e-6
WIDEST = 8192
"""Numbers of a token that the norm's Triton kernel takes."""


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
        along = product @ gain.mT if gain.shape[-2] == 1 else (product * gain).sum(-1, keepdim=True)
        along = along.div_(-normal.shape[-1])
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


class Branch(NamedTuple):
    """What half a block adds to the residual stream: gate (y + bias)."""

    y: Tensor
    """[B, T, D], in the precision of the products."""
    gate: Tensor
    """float32 [B, 1, D]."""
    bias: Tensor | None = None
    """[D], of the projection that made y, where y is without it."""


class Stream(NamedTuple):
    """The residual stream, and what has still to enter it."""

    x: Tensor
    """[B, T, D], float32 or bfloat16."""
    branch: Branch | None = None
    """To be added to x."""
    prepended: Tensor | None = None
    """Tokens [B, C, D] of x's dtype that come before it."""


class Normed(NamedTuple):
    """The stream x' with all in it, and h, normalised and modulated: what the next half block computes with."""

    x: Tensor
    h: Tensor


def joined(stream: Stream) -> Tensor:
    """The stream with all in it, [B, C + T, D] in x's dtype; x + gate (y + bias) itself is computed in float32."""
    x = stream.x
    if stream.branch is not None:
        y, gate, bias = stream.branch
        x = torch.addcmul(x, gate, y if bias is None else y + bias).to(x.dtype)
    return x if stream.prepended is None else torch.cat((stream.prepended, x), dim=1)


def gated_norm(stream: Stream, weight: Tensor | None, shift: Tensor, scale: Tensor, *, dropped: int = 0) -> Normed:
    """x', all joined, and h = norm(x') (1 + scale) + shift: RMSNorm with a weight [D], or LayerNorm without one.

    shift and scale float32 [B, 1, D] (adaLN, DiT section 3.2), or [B, T, D] where each token has its own; what is summed is
    float32. The first `dropped` tokens of x are left out of both, where none are prepended.
    """
    x = joined(stream)
    if dropped:
        x = x[:, dropped:]
    return Normed(x, modulated(x.float(), weight, shift, scale))


def modulated(x: Tensor, weight: Tensor | None, shift: Tensor, scale: Tensor) -> Tensor:
    """norm(x) (1 + scale) + shift, float32 [B, T, D]."""
    if weight is None:
        return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), 1 + scale)
    # The weight joins the scale, [B, 1, D], rather than the tokens, [B, T, D].
    return rms_normalise(x, torch.addcmul(weight, weight, scale), shift)


class ModulatedNorm(nn.Module):
    """`gated_norm` with a learned weight, or none for a LayerNorm; in the form that `kernels` asks for."""

    def __init__(self, kind: Literal["rms", "layer"], width: int, *, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        self.weight = nn.Parameter(torch.ones(width)) if kind == "rms" else None

    def forward(self, stream: Stream, shift: Tensor, scale: Tensor, *, dropped: int = 0) -> Normed:
        """As `gated_norm` has it."""
        form = gated_norm
        if on_triton(self.kernels, stream.x, unsupported=too_wide(stream.x) or _of_each_token(scale)):
            from trainables.networks.kernels.gated_norm import gated_norm as form
        return form(stream, self.weight, shift, scale, dropped=dropped)


def too_wide(x: Tensor) -> str:
    """Why the kernel cannot take a stream of this width, or nothing: a program holds a whole token in its registers."""
    width = x.shape[-1]
    return f"the norm's kernel takes a width of at most {WIDEST}, got {width}" if width > WIDEST else ""


def _of_each_token(scale: Tensor) -> str:
    tokens = scale.shape[1]
    return f"the norm's kernel takes one modulation an image, got one for each of {tokens} tokens" if tokens > 1 else ""


class HeadNorm(nn.Module):
    """RMSNorm over a head's width with a learned weight, for q and k; keeps x's dtype."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., head_dim]."""
        # A weight of another dtype would promote x, and with it q and k, off the fused attention.
        return rms_normalise(x, self.weight.to(x.dtype)[None])
