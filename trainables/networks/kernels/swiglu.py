"""SwiGLU's MLP whose elementwise part is one pass forward and one backward: y = (silu(a) b) W3^T with (a, b) = h W12^T + b12.

In fp32 inside, rounded once where a result is stored. The bias's gradient is partial sums in a fixed order: no atomics.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from trainables.networks.kernels.precision import product_dtype

ALIGNMENT = 8
"""Rows of a bf16 matrix must be a multiple of this long for a GPU's fast kernels."""
PROGRAMS = 1056
"""Programs that the backward pass starts, about: eight for each of an H100's 132 multiprocessors."""


class Tile(NamedTuple):
    """Rows and columns that a program takes at once, and its warps."""

    rows: int
    cols: int
    warps: int


FORWARD = Tile(rows=8, cols=128, warps=4)
BACKWARD = Tile(rows=8, cols=128, warps=4)


def swiglu(x: Tensor, wide: Tensor, bias: Tensor, narrow: Tensor) -> Tensor:
    """(silu(a) b) narrow^T, [B, T, D], where x wide^T + bias is a and b side by side.

    x [B, T, D]; wide [2 hidden, D]; bias [2 hidden]; narrow [D, hidden]. The products are computed in autocast's precision. A
    hidden width that is no multiple of 8, as JiT-L's 2730 and H's 3413, is filled up with zeros.
    """
    product, hidden = product_dtype(x), narrow.shape[1]
    wide, narrow, pad = wide.to(product), narrow.to(product), -hidden % ALIGNMENT
    if pad:
        wide = F.pad(wide.unflatten(0, (2, hidden)), (0, 0, 0, pad)).flatten(0, 1)
        bias = F.pad(bias.unflatten(0, (2, hidden)), (0, pad)).flatten()
        narrow = F.pad(narrow, (0, pad))
    out: Tensor = _SwiGlu.apply(x.to(product), wide, bias, narrow)  # type: ignore[no-untyped-call]
    return out


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, wide: Tensor, bias: Tensor, narrow: Tensor) -> Tensor:
        pair = F.linear(x, wide, bias.to(x.dtype))
        hidden = gated(pair)
        ctx.save_for_backward(x, wide, narrow, pair, hidden)
        return F.linear(hidden, narrow)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        x, wide, narrow, pair, hidden = ctx.saved_tensors
        tokens, pair, hidden, dy = (each.flatten(0, -2) for each in (x, pair, hidden, dy))
        dpair, dbias = gated_backward(pair, dy @ narrow)
        return (dpair @ wide).view_as(x), dpair.T @ tokens, dbias, dy.T @ hidden


def gated(pair: Tensor, *, tile: Tile = FORWARD) -> Tensor:
    """silu(a) b, [..., hidden]; pair [..., 2 hidden] is a and b side by side."""
    hidden = pair.shape[-1] // 2
    out = pair.new_empty(*pair.shape[:-1], hidden)
    rows = out.numel() // hidden
    programs = triton.cdiv(hidden, tile.cols) * triton.cdiv(rows, tile.rows)
    _gate_forward[(programs,)](pair, out, rows, HIDDEN=hidden, ROWS=tile.rows, COLS=tile.cols, num_warps=tile.warps)
    return out


def gated_backward(pair: Tensor, gradient: Tensor, *, tile: Tile = BACKWARD) -> tuple[Tensor, Tensor]:
    """From that of silu(a) b, [N, hidden], the gradients of a and b side by side, [N, 2 hidden], and their sum, float32."""
    rows, hidden = gradient.shape
    blocks = triton.cdiv(hidden, tile.cols)
    splits = min(triton.cdiv(rows, tile.rows), triton.cdiv(PROGRAMS, blocks))
    dpair = torch.empty_like(pair)
    partial = torch.empty(splits, 2 * hidden, dtype=torch.float32, device=pair.device)
    _gate_backward[(blocks, splits)](
        pair, gradient, dpair, partial, rows, splits, HIDDEN=hidden, ROWS=tile.rows, COLS=tile.cols, num_warps=tile.warps
    )
    return dpair, partial.sum(0)


@triton.jit
def _gate_forward(pair, out, rows, HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """One tile; the blocks of a row's columns follow one another."""
    blocks = tl.cdiv(HIDDEN, COLS)
    row = ((tl.program_id(0) // blocks) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    col = ((tl.program_id(0) % blocks) * COLS + tl.arange(0, COLS))[None, :]
    live = (row < rows) & (col < HIDDEN)
    a = tl.load(pair + row * (2 * HIDDEN) + col, mask=live, other=0.0).to(tl.float32)
    b = tl.load(pair + row * (2 * HIDDEN) + HIDDEN + col, mask=live, other=0.0).to(tl.float32)
    tl.store(out + row * HIDDEN + col, (a * tl.sigmoid(a) * b).to(out.dtype.element_ty), mask=live)


@triton.jit
def _gate_backward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    pair, gradient, dpair, partial, rows, splits,  # noqa: ANN001
    HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """One block of columns; every `splits`-th tile of rows."""
    split = tl.program_id(1)
    col = (tl.program_id(0) * COLS + tl.arange(0, COLS))[None, :]
    sum_a = tl.zeros([ROWS, COLS], tl.float32)
    sum_b = sum_a
    for tile in range(split, tl.cdiv(rows, ROWS), splits):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        live = (row < rows) & (col < HIDDEN)
        place = row * (2 * HIDDEN) + col
        a = tl.load(pair + place, mask=live, other=0.0).to(tl.float32)
        b = tl.load(pair + place + HIDDEN, mask=live, other=0.0).to(tl.float32)
        given = tl.load(gradient + row * HIDDEN + col, mask=live, other=0.0).to(tl.float32)
        sigmoid = tl.sigmoid(a)
        silu = a * sigmoid
        da = given * b * (sigmoid + silu * (1 - sigmoid))
        db = given * silu
        tl.store(dpair + place, da.to(dpair.dtype.element_ty), mask=live)
        tl.store(dpair + place + HIDDEN, db.to(dpair.dtype.element_ty), mask=live)
        sum_a += da
        sum_b += db
    sums = partial + split * (2 * HIDDEN) + col
    tl.store(sums, tl.sum(sum_a, 0)[None, :], mask=col < HIDDEN)
    tl.store(sums + HIDDEN, tl.sum(sum_b, 0)[None, :], mask=col < HIDDEN)
