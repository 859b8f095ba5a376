"""Softmax attention without a mask in Triton whose gradients have the same bits every time.

FlashAttention-2 (arXiv 2307.08691) with a backward pass of two kernels: one program owns the gradient of some queries, or of
some keys, and adds to it in one order, where torch's fused kernels add to a query's gradient from many programs as they come.
Tokens are rows: `ROWS` belong to a program, which goes over the others `BLOCK` at a time; what is left behind the last whole
block is a block of its own of `TAIL` rows, so that JiT's 288 tokens are no more than 288.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainables.config.trial import TRITON_HEAD_DIM

_LEAST = 16
"""Rows and columns that a product of Triton's needs."""
LN2 = tl.constexpr(math.log(2))


@triton.jit
def _head(tensor, heads, batch_stride, head_stride):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where this program's head begins; program 1 counts heads through the batch."""
    index = tl.program_id(1)
    batch, head = (index // heads).to(tl.int64), (index % heads).to(tl.int64)
    return tensor + batch * batch_stride + head * head_stride


@triton.jit
def _load(head, first, stride, tokens, ROWS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """[ROWS, WIDTH] of a head [tokens, D] from row `first`; zeros outside, where it is not WHOLE."""
    row, column = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    place = head + row[:, None] * stride + column[None, :]
    if WHOLE and D == WIDTH:
        tile = tl.load(place)
    else:
        tile = tl.load(place, mask=(row < tokens)[:, None] & (column < D)[None, :], other=0.0)
    return tile


@triton.jit
def _store(tile, head, first, stride, tokens, ROWS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    row, column = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    place = head + row[:, None] * stride + column[None, :]
    inside = (row < tokens)[:, None] & (column < D)[None, :]
    tl.store(place, tile.to(head.dtype.element_ty), mask=inside)


@triton.jit
def _load_row_numbers(head, first, tokens, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """float32 [ROWS] of one number a token."""
    row = first + tl.arange(0, ROWS)
    return tl.load(head + row, mask=row < tokens, other=0.0)


@triton.jit
def _dot(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _attend(  # type: ignore[no-untyped-def]  # noqa: ANN202
    acc, total, top, q, k_head, v_head, first, k_t, v_t, tokens, scale,  # noqa: ANN001
    ROWS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Adds the keys first..first + ROWS - 1: the unnormalised output, its weights' sum and their largest exponent."""
    k = _load(k_head, first, k_t, tokens, ROWS, D, WIDTH, WHOLE)
    scores = _dot(q, tl.trans(k))
    if not WHOLE:
        scores = tl.where((first + tl.arange(0, ROWS) < tokens)[None, :], scores, float("-inf"))
    raised = tl.maximum(top, tl.max(scores, 1) * scale)
    weights = tl.math.exp2(scores * scale - raised[:, None])
    fade = tl.math.exp2(top - raised)
    v = _load(v_head, first, v_t, tokens, ROWS, D, WIDTH, WHOLE)
    acc = acc * fade[:, None] + _dot(weights.to(v.dtype), v)
    return acc, total * fade + tl.sum(weights, 1), raised


@triton.jit
def _attention_forward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    q, k, v, out, lse, heads, tokens,  # noqa: ANN001
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, out_b, out_h, out_t,  # noqa: ANN001
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr, WHOLE: tl.constexpr,
    SCALE: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T) v of ROWS queries, and log2 of the sum of their exponentials."""
    first = tl.program_id(0) * ROWS
    q_tile = _load(_head(q, heads, q_b, q_h), first, q_t, tokens, ROWS, D, WIDTH, False)
    k_head, v_head = _head(k, heads, k_b, k_h), _head(v, heads, v_b, v_h)
    acc = tl.zeros([ROWS, WIDTH], tl.float32)
    total, top = tl.zeros([ROWS], tl.float32), tl.full([ROWS], float("-inf"), tl.float32)
    full = tokens // BLOCK * BLOCK
    for at in range(0, full, BLOCK):
        acc, total, top = _attend(
            acc, total, top, q_tile, k_head, v_head, at, k_t, v_t, tokens, SCALE, BLOCK, D, WIDTH, True
        )  # fmt: skip
    if TAIL > 0:
        acc, total, top = _attend(
            acc, total, top, q_tile, k_head, v_head, full, k_t, v_t, tokens, SCALE, TAIL, D, WIDTH, WHOLE
        )  # fmt: skip
    _store(acc / total[:, None], _head(out, heads, out_b, out_h), first, out_t, tokens, ROWS, D, WIDTH)
    row = first + tl.arange(0, ROWS)
    tl.store(lse + tl.program_id(1).to(tl.int64) * tokens + row, top + tl.math.log2(total), mask=row < tokens)


@triton.jit
def _of_queries(  # type: ignore[no-untyped-def]  # noqa: ANN202
    dq, q, dout, lse, delta, k_head, v_head, first, k_t, v_t, tokens, scale,  # noqa: ANN001
    ROWS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """dq + ds k over the keys first..first + ROWS - 1, where ds = p (dout v^T - delta)."""
    k = _load(k_head, first, k_t, tokens, ROWS, D, WIDTH, WHOLE)
    v = _load(v_head, first, v_t, tokens, ROWS, D, WIDTH, WHOLE)
    weights = tl.math.exp2(_dot(q, tl.trans(k)) * scale - lse[:, None])
    if not WHOLE:
        weights = tl.where((first + tl.arange(0, ROWS) < tokens)[None, :], weights, 0.0)
    of_scores = weights * (_dot(dout, tl.trans(v)) - delta[:, None])
    return dq + _dot(of_scores.to(k.dtype), k)


@triton.jit
def _attention_queries(  # type: ignore[no-untyped-def]  # noqa: ANN202
    q, k, v, out, dout, lse, delta, dq, heads, tokens,  # noqa: ANN001
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, out_b, out_h, out_t, dout_b, dout_h, dout_t, dq_b, dq_h, dq_t,  # noqa: ANN001
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr, WHOLE: tl.constexpr,
    SCALE: tl.constexpr,
):  # fmt: skip
    """The gradient of ROWS queries, and delta = rowsum(dout out), which the keys' gradients need too."""
    first = tl.program_id(0) * ROWS
    q_tile = _load(_head(q, heads, q_b, q_h), first, q_t, tokens, ROWS, D, WIDTH, False)
    dout_tile = _load(_head(dout, heads, dout_b, dout_h), first, dout_t, tokens, ROWS, D, WIDTH, False)
    out_tile = _load(_head(out, heads, out_b, out_h), first, out_t, tokens, ROWS, D, WIDTH, False)
    delta_tile = tl.sum(out_tile.to(tl.float32) * dout_tile.to(tl.float32), 1)
    row, numbers = first + tl.arange(0, ROWS), tl.program_id(1).to(tl.int64) * tokens
    tl.store(delta + numbers + row, delta_tile, mask=row < tokens)
    lse_tile = _load_row_numbers(lse + numbers, first, tokens, ROWS)
    k_head, v_head = _head(k, heads, k_b, k_h), _head(v, heads, v_b, v_h)
    acc, full = tl.zeros([ROWS, WIDTH], tl.float32), tokens // BLOCK * BLOCK
    for at in range(0, full, BLOCK):
        acc = _of_queries(
            acc, q_tile, dout_tile, lse_tile, delta_tile, k_head, v_head, at, k_t, v_t, tokens, SCALE, BLOCK, D, WIDTH, True
        )  # fmt: skip
    if TAIL > 0:
        acc = _of_queries(
            acc, q_tile, dout_tile, lse_tile, delta_tile, k_head, v_head, full, k_t, v_t, tokens, SCALE, TAIL, D, WIDTH, WHOLE
        )  # fmt: skip
    _store(acc * (SCALE * LN2), _head(dq, heads, dq_b, dq_h), first, dq_t, tokens, ROWS, D, WIDTH)


@triton.jit
def _of_keys(  # type: ignore[no-untyped-def]  # noqa: ANN202
    dk, dv, k, v, q_head, dout_head, lse_head, delta_head, first, q_t, dout_t, tokens, scale,  # noqa: ANN001
    ROWS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """dk + ds^T q and dv + p^T dout over the queries first..first + ROWS - 1. Rows beyond the last are zeros and add none."""
    q = _load(q_head, first, q_t, tokens, ROWS, D, WIDTH, WHOLE)
    dout = _load(dout_head, first, dout_t, tokens, ROWS, D, WIDTH, WHOLE)
    lse, delta = _load_row_numbers(lse_head, first, tokens, ROWS), _load_row_numbers(delta_head, first, tokens, ROWS)
    weights = tl.math.exp2(_dot(k, tl.trans(q)) * scale - lse[None, :])
    dv += _dot(weights.to(dout.dtype), dout)
    of_scores = weights * (_dot(v, tl.trans(dout)) - delta[None, :])
    return dk + _dot(of_scores.to(q.dtype), q), dv


@triton.jit
def _attention_keys(  # type: ignore[no-untyped-def]  # noqa: ANN202
    q, k, v, dout, lse, delta, dk, dv, heads, tokens,  # noqa: ANN001
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, dout_b, dout_h, dout_t, dk_b, dk_h, dk_t, dv_b, dv_h, dv_t,  # noqa: ANN001
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr, WHOLE: tl.constexpr,
    SCALE: tl.constexpr,
):  # fmt: skip
    """The gradients of ROWS keys and their values."""
    first, numbers = tl.program_id(0) * ROWS, tl.program_id(1).to(tl.int64) * tokens
    k_tile = _load(_head(k, heads, k_b, k_h), first, k_t, tokens, ROWS, D, WIDTH, False)
    v_tile = _load(_head(v, heads, v_b, v_h), first, v_t, tokens, ROWS, D, WIDTH, False)
    q_head, dout_head = _head(q, heads, q_b, q_h), _head(dout, heads, dout_b, dout_h)
    lse_head, delta_head = lse + numbers, delta + numbers
    of_k, of_v = tl.zeros([ROWS, WIDTH], tl.float32), tl.zeros([ROWS, WIDTH], tl.float32)
    full = tokens // BLOCK * BLOCK
    for at in range(0, full, BLOCK):
        of_k, of_v = _of_keys(
            of_k, of_v, k_tile, v_tile, q_head, dout_head, lse_head, delta_head, at, q_t, dout_t, tokens, SCALE,
            BLOCK, D, WIDTH, True,
        )  # fmt: skip
    if TAIL > 0:
        of_k, of_v = _of_keys(
            of_k, of_v, k_tile, v_tile, q_head, dout_head, lse_head, delta_head, full, q_t, dout_t, tokens, SCALE,
            TAIL, D, WIDTH, WHOLE,
        )  # fmt: skip
    _store(of_k * (SCALE * LN2), _head(dk, heads, dk_b, dk_h), first, dk_t, tokens, ROWS, D, WIDTH)
    _store(of_v, _head(dv, heads, dv_b, dv_h), first, dv_t, tokens, ROWS, D, WIDTH)


@dataclass(frozen=True)
class Tiles:
    """How one kernel is cut: rows a program owns, rows of a step, warps, and steps loaded ahead."""

    rows: int
    block: int
    warps: int
    stages: int

    def options(self, tokens: int, head_dim: int) -> dict[str, Any]:
        """The kernel's constants and launch options for heads [tokens, head_dim]."""
        rest = tokens % self.block
        tail = max(_LEAST, triton.next_power_of_2(rest)) if rest else 0
        return {
            "D": head_dim,
            "WIDTH": max(_LEAST, triton.next_power_of_2(head_dim)),
            "ROWS": self.rows,
            "BLOCK": self.block,
            "TAIL": tail,
            "WHOLE": tail == rest,
            "SCALE": _exponent_scale(head_dim),
            "num_warps": self.warps,
            "num_stages": self.stages,
        }


@dataclass(frozen=True)
class Tiling:
    """The tiles of the three kernels."""

    forward: Tiles
    queries: Tiles
    keys: Tiles


SHORT = Tiling(forward=Tiles(64, 32, 4, 3), queries=Tiles(64, 32, 4, 3), keys=Tiles(64, 32, 4, 3))
"""For up to 512 tokens."""
LONG = Tiling(forward=Tiles(64, 64, 4, 3), queries=Tiles(64, 32, 4, 3), keys=Tiles(64, 64, 4, 3))
"""For up to 4096 tokens."""
LONGEST = Tiling(forward=Tiles(128, 64, 8, 3), queries=Tiles(64, 32, 4, 3), keys=Tiles(64, 64, 4, 3))
"""For more."""
WIDE = Tiling(forward=Tiles(64, 32, 4, 3), queries=Tiles(64, 32, 4, 2), keys=Tiles(64, 32, 4, 3))
"""For heads above 64, up to 128, of any number of tokens."""


def tiling_of(head_dim: int, tokens: int) -> Tiling:
    """The fastest of ten choices a kernel, by measurements on an H200 with heads of 64 (288, 1056, 16416 tokens) and of 80."""
    if head_dim > 64:
        return WIDE
    return SHORT if tokens <= 512 else LONG if tokens <= 4096 else LONGEST


def attention_forward(q: Tensor, k: Tensor, v: Tensor, *, tiles: Tiles | None = None) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d)) v [B, H, T, d], in memory [B, T, H, d]; log2 of the sums of exponentials, float32 [B, H, T].

    q, k, v [B, H, T, d] with adjacent last dimension, of one dtype, otherwise wherever they lie.
    """
    batch, heads, tokens, head_dim = q.shape
    assert head_dim <= TRITON_HEAD_DIM, head_dim
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    out = torch.empty(batch, tokens, heads, head_dim, dtype=q.dtype, device=q.device).transpose(1, 2)
    lse = torch.empty(batch, heads, tokens, dtype=torch.float32, device=q.device)
    chosen = tiles or tiling_of(head_dim, tokens).forward
    grid = (triton.cdiv(tokens, chosen.rows), batch * heads)
    strides = [stride for each in (q, k, v, out) for stride in each.stride()[:3]]
    options = chosen.options(tokens, head_dim)
    _attention_forward[grid](q, k, v, out, lse, heads, tokens, *strides, **options)
    return out, lse


def attention_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    *,
    into: tuple[Tensor, Tensor, Tensor],
    tiling: Tiling | None = None,
) -> None:
    """Writes the gradients of q, k and v into `into`, [B, H, T, d] each with adjacent last dimension, wherever they lie."""
    tokens, head_dim = q.shape[-2:]
    dout = dout if dout.stride(-1) == 1 else dout.contiguous()
    delta, chosen = torch.empty_like(lse), tiling or tiling_of(head_dim, tokens)
    _queries_gradient(dout, q, k, v, out, lse, delta, into[0], chosen.queries)
    _keys_gradient(dout, q, k, v, lse, delta, into[1], into[2], chosen.keys)


def _queries_gradient(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, delta: Tensor, dq: Tensor, tiles: Tiles
) -> None:
    batch, heads, tokens, head_dim = q.shape
    strides = [stride for each in (q, k, v, out, dout, dq) for stride in each.stride()[:3]]
    grid = (triton.cdiv(tokens, tiles.rows), batch * heads)
    options = tiles.options(tokens, head_dim)
    _attention_queries[grid](q, k, v, out, dout, lse, delta, dq, heads, tokens, *strides, **options)


def _keys_gradient(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, lse: Tensor, delta: Tensor, dk: Tensor, dv: Tensor, tiles: Tiles
) -> None:
    batch, heads, tokens, head_dim = q.shape
    strides = [stride for each in (q, k, v, dout, dk, dv) for stride in each.stride()[:3]]
    grid = (triton.cdiv(tokens, tiles.rows), batch * heads)
    options = tiles.options(tokens, head_dim)
    _attention_keys[grid](q, k, v, dout, lse, delta, dk, dv, heads, tokens, *strides, **options)


def _exponent_scale(head_dim: int) -> float:
    """exp(s / sqrt(d)) = 2^(s scale): exponentials of two cost one instruction."""
    return math.log2(math.e) / math.sqrt(head_dim)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = attention_forward(q, k, v)
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, lse = ctx.saved_tensors
        batch, heads, tokens, head_dim = q.shape
        gradients = q.new_empty(3, batch, tokens, heads, head_dim).transpose(2, 3)
        dq, dk, dv = gradients.unbind()
        attention_backward(dout, q, k, v, out, lse, into=(dq, dk, dv))
        return dq, dk, dv


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over [B, H, T, d], whose gradients have the same bits every time."""
    out: Tensor = _Attention.apply(q, k, v)  # type: ignore[no-untyped-call]
    return out
