"""`trainables.networks.norm.gated_norm` as one pass over the tokens forward and one backward.

A number of the stream is read once and written once; what is summed is float32. Gradients of what an image or the batch shares
are sums over a chunk of an image's tokens, then over its chunks, then over images, each in a fixed order: no atomics.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainables.networks.kernels.gated_norm_passes import backward_pass, finishing_pass, forward_pass
from trainables.networks.kernels.precision import product_dtype
from trainables.networks.norm import EPS, Normed, Stream


class Walk(NamedTuple):
    """Tokens of one image that a program goes through, tokens it holds at once, its warps, and how many loads run ahead."""

    tokens: int
    rows: int
    warps: int
    stages: int


FORWARD_TOKENS, BACKWARD_TOKENS = 16, 64
HELD = 2048
"""Numbers of a tensor that four warps hold at once, 16 a thread: a few tokens, or a wide one over more warps."""


def walk_for(width: int, *, tokens: int) -> Walk:
    """How a program goes through so many tokens of such a width."""
    block = triton.next_power_of_2(width)
    rows = min(16, max(1, HELD // block))
    return Walk(tokens, rows=rows, warps=max(1, 4 * rows * block // HELD), stages=1)


def gated_norm(stream: Stream, weight: Tensor | None, shift: Tensor, scale: Tensor, *, dropped: int = 0) -> Normed:
    """As the plain form, with h in the precision of the products."""
    x, branch, prepended = stream
    lead = -dropped if prepended is None else prepended.shape[1]
    y, gate, bias = branch or (None, None, None)
    arguments = Given(x, y, gate, bias, prepended, weight, shift, scale)
    return Normed(*_GatedNorm.apply(*arguments, lead, product_dtype(x)))  # type: ignore[no-untyped-call]


class _GatedNorm(torch.autograd.Function):
    """Autograd's view of `forward` and `backward`."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        *tensors, lead, product = arguments
        kept, h = forward(Given(*tensors), lead=lead, product=product)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*kept)
        ctx.lead = lead
        return kept.stream, h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_stream: Tensor | None, of_h: Tensor) -> tuple[Tensor | None, ...]:
        return (*backward(Kept(*ctx.saved_tensors), of_stream, of_h, lead=ctx.lead), None, None)


class Given(NamedTuple):
    """The arguments: y, gate and bias are the branch's. The backward pass gives their gradients as such a tuple too."""

    x: Tensor
    y: Tensor | None
    gate: Tensor | None
    bias: Tensor | None
    prepended: Tensor | None
    weight: Tensor | None
    shift: Tensor
    scale: Tensor


class Kept(NamedTuple):
    """What the backward pass needs: arguments, x' [B, T, D], and float32 mean, of a layer norm, and 1 / deviation [B, T]."""

    stream: Tensor
    y: Tensor | None
    gate: Tensor | None
    bias: Tensor | None
    weight: Tensor | None
    scale: Tensor
    mean: Tensor | None
    inverse: Tensor


def forward(given: Given, *, lead: int, product: torch.dtype, walk: Walk | None = None) -> tuple[Kept, Tensor]:
    """What to keep, and h.

    `lead` is how many tokens more x' has than x: those prepended, or less than zero where the first of x are left out.
    """
    x, y, gate, bias, prepended, weight, shift, scale = map(dense, given)
    assert x is not None
    assert shift is not None
    assert scale is not None
    images, tokens, width = x.shape
    walk = walk or walk_for(width, tokens=FORWARD_TOKENS)
    stream = x if y is None and lead == 0 else x.new_empty(images, tokens + lead, width)
    h = torch.empty_like(stream, dtype=product)
    inverse = torch.empty(stream.shape[:2], device=x.device)
    mean = torch.empty_like(inverse) if weight is None else None
    chunks = chunks_of(tokens, lead, walk)
    forward_pass[(images * chunks,)](
        x, y, gate, bias, prepended, weight, shift, scale, stream, h, mean, inverse,
        chunks, tokens, stride(gate), stride(shift), stride(scale),
        WRITTEN=stream is not x, EPS=EPS, **constants(width, lead, walk),
    )  # fmt: skip
    return Kept(stream, y, gate, bias, weight, scale, mean, inverse), h


def backward(kept: Kept, of_stream: Tensor | None, of_h: Tensor, *, lead: int, walk: Walk | None = None) -> Given:
    """Gradients of the arguments, from those of x', where there is one, and h."""
    stream, y, gate, _, weight, scale, mean, inverse = kept
    images, out, width = stream.shape
    walk = walk or walk_for(width, tokens=BACKWARD_TOKENS)
    tokens, of_stream, of_h = out - lead, dense(of_stream), of_h.contiguous()
    dx = stream.new_empty(images, tokens, width)
    dy = None if y is None else torch.empty_like(y)
    of_prepended = stream.new_empty(images, lead, width) if lead > 0 else None
    chunks = chunks_of(tokens, lead, walk)
    sums = torch.empty(2 if y is None else 4, images, chunks, width, device=stream.device)
    backward_pass[(images * chunks,)](
        of_stream, of_h, stream, y, gate, weight, scale, mean, inverse, dx, dy, of_prepended, sums,
        chunks, tokens, stride(gate), stride(scale), **constants(width, lead, walk),
    )  # fmt: skip
    of_gate, of_bias, of_weight, of_shift, of_scale = of_vectors(kept, sums)
    return Given(dx, dy, of_gate, of_bias, of_prepended, of_weight, of_shift, of_scale)


class OfVectors(NamedTuple):
    """Gradients of what an image or the batch shares."""

    gate: Tensor | None
    bias: Tensor | None
    weight: Tensor | None
    shift: Tensor
    scale: Tensor


def of_vectors(kept: Kept, sums: Tensor) -> OfVectors:
    """From what each chunk of an image adds to them, [2 or 4, B, chunks, D]."""
    _, y, gate, bias, weight, scale, _, _ = kept
    _, images, chunks, width = sums.shape
    of_image = torch.empty(3, images, 1, width, device=sums.device)
    terms = torch.empty(2, images, width, device=sums.device)
    finishing_pass[(images,)](
        sums, gate, bias, weight, scale, of_image, terms, chunks, stride(gate), stride(scale),
        WIDTH=width, BLOCK=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    of_gate, of_shift, of_scale = of_image
    of_bias, of_weight = terms.sum(1)
    return OfVectors(
        gate=None if y is None else of_gate,
        bias=None if bias is None else of_bias.to(bias.dtype),
        weight=None if weight is None else of_weight.to(weight.dtype),
        shift=of_shift,
        scale=of_scale,
    )


def chunks_of(tokens: int, lead: int, walk: Walk) -> int:
    """Programs that share an image. Its rows are the tokens of x, and before them those prepended."""
    return -(-(tokens + max(lead, 0)) // walk.tokens)


def constants(width: int, lead: int, walk: Walk) -> dict[str, Any]:
    """What the passes are compiled for."""
    assert walk.tokens % walk.rows == 0
    sizes = {"WIDTH": width, "BLOCK": triton.next_power_of_2(width), "LEAD": lead}
    return {**sizes, "TOKENS": walk.tokens, "ROWS": walk.rows, "STAGES": walk.stages, "num_warps": walk.warps}


def dense(tensor: Tensor | None) -> Tensor | None:
    """[..., D] as the passes read it: modulation [B, 1, D] may be cut out of wider rows, anything else is contiguous."""
    if tensor is None or (tensor.dim() == 3 and tensor.shape[1] == 1 and tensor.stride(2) == 1):
        return tensor
    return tensor.contiguous()


def stride(modulation: Tensor | None) -> int:
    """Numbers between two images' rows."""
    return 0 if modulation is None else modulation.stride(0)
