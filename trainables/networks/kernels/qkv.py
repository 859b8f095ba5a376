"""The projection to q, k and v, and RMSNorm and rotation of q and k in one pass over both, backward in one over all three.

In fp32 inside, rounded once where a result is stored. Sums over tokens are partial sums in a fixed order: no atomics.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from trainables.networks.kernels.precision import product_dtype
from trainables.networks.norm import EPS

PROGRAMS = 1056
"""Programs that the backward pass starts, about: eight for each of an H100's 132 multiprocessors."""


class TokenTile(NamedTuple):
    """Tokens of one head that a program takes at once, and its warps."""

    tokens: int
    warps: int


FORWARD = TokenTile(tokens=16, warps=4)
BACKWARD = TokenTile(tokens=8, warps=4)


class Qkv(NamedTuple):
    """Queries, keys and values, [B, T, heads, d] each."""

    q: Tensor
    k: Tensor
    v: Tensor


class Turn(NamedTuple):
    """What q and k go through: their norms' weights float32 [d], or none, and the rotation, or none.

    `rotation` is [T, 1, d / 2, 2] from `positions.rotation_table`.
    """

    q_norm: Tensor | None
    k_norm: Tensor | None
    rotation: Tensor | None


class Heads(NamedTuple):
    """How the columns of a projection are cut, and what q and k are stored in."""

    heads: int
    dtype: torch.dtype


def project(x: Tensor, weight: Tensor, bias: Tensor, turn: Turn, *, heads: int, dtype: torch.dtype | None = None) -> Qkv:
    """Project x, normalise q and k over each head's width, and turn them by their token's angles.

    x [B, T, D]; weight [3 D, D]; bias [3 D]. The product is computed in autocast's precision; q and k come in `dtype`, else in
    that too.
    """
    product = product_dtype(x)
    cut = Heads(heads, dtype or product)
    return Qkv(*_Project.apply(x.to(product), weight.to(product), bias, *turn, cut))  # type: ignore[no-untyped-call]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Qkv:
        turn, cut = Turn(*rest[:3]), rest[3]
        qkv = F.linear(x, weight, bias.to(x.dtype)).unflatten(-1, (3, cut.heads, -1))  # [B, T, 3, heads, d]
        ctx.save_for_backward(x, weight, qkv, *turn)
        q, k, v = qkv.unbind(2)
        if turn.q_norm is None and turn.rotation is None:
            return Qkv(q.to(cut.dtype), k.to(cut.dtype), v)
        return Qkv(*turned(qkv, turn, dtype=cut.dtype), v)

    @staticmethod
    def backward(ctx: Any, dq: Tensor, dk: Tensor, dv: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, qkv, *turn = ctx.saved_tensors
        dqkv, sums = unturned(qkv, Turn(*turn), Qkv(dq, dk, dv))
        dqkv = dqkv.flatten(0, 1).flatten(1)
        norms = sums[3:].sum(1).unbind() or (None, None)
        return (dqkv @ weight).view_as(x), dqkv.T @ x.flatten(0, 1), sums[:3].flatten(), *norms, None, None


def turned(qkv: Tensor, turn: Turn, *, dtype: torch.dtype, tile: TokenTile = FORWARD) -> tuple[Tensor, Tensor]:
    """q and k of a projection [B, T, 3, heads, d], normalised and turned: [B, T, heads, d] each."""
    batch, tokens, _, heads, dim = qkv.shape
    q, k = (qkv.new_empty(batch, tokens, heads, dim, dtype=dtype) for _ in range(2))
    programs = heads * triton.cdiv(batch * tokens, tile.tokens)
    _turn_forward[(programs,)](
        qkv, q, k, *turn, batch * tokens, tokens,
        HEADS=heads, DIM=dim, EPS=EPS, NORM=turn.q_norm is not None, TURN=turn.rotation is not None,
        ROWS=tile.tokens, COLS=triton.next_power_of_2(dim), num_warps=tile.warps,
    )  # fmt: skip
    return q, k


def unturned(qkv: Tensor, turn: Turn, gradients: Qkv, *, tile: TokenTile = BACKWARD) -> tuple[Tensor, Tensor]:
    """From the gradients of q, k and v, [B, T, heads, d], that of the projection, [B, T, 3, heads, d], and its sums.

    The sums over all tokens, float32 [5, heads, d]: the bias's gradients of q, k and v, then each head's share in those of the
    two norms' weights; [3, heads, d] without norms.
    """
    batch, tokens, _, heads, dim = qkv.shape
    dq, dk, dv = (each if each.stride(-1) == 1 else each.contiguous() for each in gradients)
    splits = min(triton.cdiv(batch * tokens, tile.tokens), triton.cdiv(PROGRAMS, heads))
    dqkv, kinds = torch.empty_like(qkv), 3 if turn.q_norm is None else 5
    partial = torch.empty(splits, kinds, heads, dim, dtype=torch.float32, device=qkv.device)
    _turn_backward[(heads, splits)](
        qkv, dq, dk, dv, *turn, dqkv, partial, batch * tokens, tokens, splits,
        *dq.stride()[:3], *dk.stride()[:3], *dv.stride()[:3],
        HEADS=heads, DIM=dim, EPS=EPS, NORM=turn.q_norm is not None, TURN=turn.rotation is not None, KINDS=kinds,
        ROWS=tile.tokens, COLS=triton.next_power_of_2(dim), num_warps=tile.warps,
    )  # fmt: skip
    return dqkv, partial.sum(0)


@triton.jit
def _rotated(x, cos, sin, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Pairs (a, b) -> (a cos - b sin, b cos + a sin); x [ROWS, COLS], cos and sin [ROWS, COLS / 2]."""
    a, b = tl.split(tl.reshape(x, [ROWS, COLS // 2, 2]))
    return tl.reshape(tl.join(a * cos - b * sin, b * cos + a * sin), [ROWS, COLS])


@triton.jit
def _angles(table, position, live, DIM: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(cos, sin) of the tokens at such positions, [ROWS, COLS / 2] each."""
    place = table + position[:, None] * DIM + tl.arange(0, COLS)[None, :]
    return tl.split(tl.reshape(tl.load(place, mask=live, other=0.0), [ROWS, COLS // 2, 2]))


@triton.jit
def _turn_forward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    qkv, q, k, q_norm, k_norm, table, count, tokens,  # noqa: ANN001
    HEADS: tl.constexpr, DIM: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, TURN: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """A tile of tokens of one head; a tile's heads follow one another."""
    head = tl.program_id(0) % HEADS
    row = (tl.program_id(0) // HEADS) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, COLS)
    live = (row < count)[:, None] & (col < DIM)[None, :]
    cos, sin = 0.0, 0.0
    if TURN:
        cos, sin = _angles(table, row % tokens, live, DIM, ROWS, COLS)
    raw = qkv + row.to(tl.int64)[:, None] * (3 * HEADS * DIM) + head * DIM + col[None, :]
    out = row.to(tl.int64)[:, None] * (HEADS * DIM) + head * DIM + col[None, :]
    _one_forward(raw, q_norm, q + out, cos, sin, col, live, DIM, EPS, NORM, TURN, ROWS, COLS)
    _one_forward(raw + HEADS * DIM, k_norm, k + out, cos, sin, col, live, DIM, EPS, NORM, TURN, ROWS, COLS)


@triton.jit
def _one_forward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    raw, norm, out, cos, sin, col, live,  # noqa: ANN001
    DIM: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, TURN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    x = tl.load(raw, mask=live, other=0.0).to(tl.float32)
    if NORM:
        weight = tl.load(norm + col, mask=col < DIM, other=0.0)[None, :]
        x = x * tl.rsqrt(tl.sum(x * x, 1) / DIM + EPS)[:, None] * weight
    if TURN:
        x = _rotated(x, cos, sin, ROWS, COLS)
    tl.store(out, x.to(out.dtype.element_ty), mask=live)


@triton.jit
def _turn_backward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    qkv, dq, dk, dv, q_norm, k_norm, table, dqkv, partial, count, tokens, splits,  # noqa: ANN001
    dq_image, dq_token, dq_head, dk_image, dk_token, dk_head, dv_image, dv_token, dv_head,  # noqa: ANN001
    HEADS: tl.constexpr, DIM: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, TURN: tl.constexpr, KINDS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One head; every `splits`-th tile of tokens."""
    head, split = tl.program_id(0), tl.program_id(1)
    col = tl.arange(0, COLS)
    q_bias = tl.zeros([ROWS, COLS], tl.float32)
    k_bias, v_bias, q_weight, k_weight = q_bias, q_bias, q_bias, q_bias
    for tile in range(split, tl.cdiv(count, ROWS), splits):
        row = tile * ROWS + tl.arange(0, ROWS)
        image, position = (row // tokens).to(tl.int64), row % tokens
        live = (row < count)[:, None] & (col < DIM)[None, :]
        cos, sin = 0.0, 0.0
        if TURN:
            cos, sin = _angles(table, position, live, DIM, ROWS, COLS)
        raw = row.to(tl.int64)[:, None] * (3 * HEADS * DIM) + head * DIM + col[None, :]
        at_q = dq + (image * dq_image + position * dq_token)[:, None] + head * dq_head + col[None, :]
        q_bias, q_weight = _one_back(
            qkv + raw, at_q, q_norm, dqkv + raw, q_bias, q_weight, cos, sin, col, live, DIM, EPS, NORM, TURN, ROWS, COLS
        )
        at_k = dk + (image * dk_image + position * dk_token)[:, None] + head * dk_head + col[None, :]
        raw += HEADS * DIM
        k_bias, k_weight = _one_back(
            qkv + raw, at_k, k_norm, dqkv + raw, k_bias, k_weight, cos, sin, col, live, DIM, EPS, NORM, TURN, ROWS, COLS
        )
        at_v = dv + (image * dv_image + position * dv_token)[:, None] + head * dv_head + col[None, :]
        gradient = tl.load(at_v, mask=live, other=0.0)
        tl.store(dqkv + raw + HEADS * DIM, gradient, mask=live)
        v_bias += gradient.to(tl.float32)
    sums = partial + split * (KINDS * HEADS * DIM) + head * DIM + col
    tl.store(sums, tl.sum(q_bias, 0), mask=col < DIM)
    tl.store(sums + HEADS * DIM, tl.sum(k_bias, 0), mask=col < DIM)
    tl.store(sums + 2 * HEADS * DIM, tl.sum(v_bias, 0), mask=col < DIM)
    if NORM:
        tl.store(sums + 3 * HEADS * DIM, tl.sum(q_weight, 0), mask=col < DIM)
        tl.store(sums + 4 * HEADS * DIM, tl.sum(k_weight, 0), mask=col < DIM)


@triton.jit
def _one_back(  # type: ignore[no-untyped-def]  # noqa: ANN202
    raw, gradient, norm, out, bias_sum, weight_sum, cos, sin, col, live,  # noqa: ANN001
    DIM: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, TURN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Store the gradient of one tile of the projection; the sums with it added."""
    dx = tl.load(gradient, mask=live, other=0.0).to(tl.float32)
    if TURN:
        dx = _rotated(dx, cos, -sin, ROWS, COLS)
    if NORM:
        x = tl.load(raw, mask=live, other=0.0).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(x * x, 1) / DIM + EPS)[:, None]
        normal = x * inverse
        weight_sum += dx * normal
        dx = dx * tl.load(norm + col, mask=col < DIM, other=0.0).to(tl.float32)[None, :]
        dx = inverse * (dx - normal * (tl.sum(dx * normal, 1) / DIM)[:, None])
    tl.store(out, dx.to(out.dtype.element_ty), mask=live)
    return bias_sum + dx, weight_sum
