"""Position tables of tokens: the fixed sine-cosine table added once, and the rotary tables of attention."""

import numpy as np
import torch
from torch import Tensor

BASE = 10000.0
ALTERNATING_SPAN = 16.0
"""Where the last column and row lie, whatever the resolution."""


def sincos_table(grid: int, width: int) -> Tensor:
    """Sines and cosines of column and row, float32 [grid^2, width] in row-major order (MAE's table, as JiT uses it).

    Computed in float64: the first half of the width describes the column, the second the row.
    """
    row, column = np.divmod(np.arange(grid * grid, dtype=np.float64), grid)
    frequency = BASE ** -(np.arange(width // 4, dtype=np.float64) / (width / 4))
    waves = [part(np.outer(axis, frequency)) for axis in (column, row) for part in (np.sin, np.cos)]
    return torch.from_numpy(np.concatenate(waves, axis=1)).to(torch.float32)


def rotation_table(grid: int, head_dim: int, *, class_tokens: int) -> Tensor:
    """(cos, sin) of each token's rotation, float32 [class_tokens + grid^2, 1, head_dim / 2, 2] (axial rotary positions).

    Pairs of the first half of a head turn with the row, those of the second with the column; class tokens do not turn.
    """
    row, column = torch.arange(grid * grid).div(grid, rounding_mode="floor"), torch.arange(grid * grid) % grid
    frequency = BASE ** -(torch.arange(0, head_dim // 2, 2).to(torch.float32) / (head_dim // 2))
    angle = torch.cat((row[:, None] * frequency, column[:, None] * frequency), dim=1)
    angle = torch.cat((torch.zeros(class_tokens, head_dim // 2), angle))
    return torch.stack((angle.cos(), angle.sin()), dim=-1).unsqueeze(1)


def column_first_table(grid: int, head_dim: int, *, class_tokens: int) -> Tensor:
    """`rotation_table` whose first half of a head turns with the column, and the second with the row (PixelFlow)."""
    return rotation_table(grid, head_dim, class_tokens=class_tokens).roll(head_dim // 4, dims=2)


def alternating_table(grid: int, head_dim: int, *, class_tokens: int) -> Tensor:
    """`rotation_table` whose pairs turn with the column and the row in turn, at positions 0 to 16 on every grid (PixNerd)."""
    axis = torch.linspace(0, ALTERNATING_SPAN, grid)
    frequency = BASE ** -(torch.arange(head_dim // 4).to(torch.float32) * 4 / head_dim)
    column, row = axis.repeat(grid), axis.repeat_interleave(grid)
    angle = torch.stack((column[:, None] * frequency, row[:, None] * frequency), dim=-1).flatten(1)
    angle = torch.cat((torch.zeros(class_tokens, head_dim // 2), angle))
    return torch.stack((angle.cos(), angle.sin()), dim=-1).unsqueeze(1)


ROTATIONS = {"axial": rotation_table, "column_first": column_first_table, "alternating": alternating_table}
"""By `model.rope_kind`."""


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i+1) of each head by its token's angles, in x's dtype.

    x [B, T, heads, d]; table [T, 1, d / 2, 2], from `rotation_table`.
    """
    if torch.compiler.is_compiling():
        return rotate_by_parts(x, table)
    # One kernel forward and one backward, but it exists only in fp32 and inductor cannot fuse it.
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.view_as_complex(table)).flatten(-2).to(x.dtype)


def rotate_by_parts(x: Tensor, table: Tensor) -> Tensor:
    """`rotate` in real arithmetic, (a, b) -> (a cos - b sin, b cos + a sin), which a compiler fuses and writes in order."""
    pairs = x.unflatten(-1, (-1, 2))
    cos, sin = table.unbind(-1)
    turned: Tensor = pairs * cos.unsqueeze(-1) + pairs.flip(-1) * torch.stack((-sin, sin), dim=-1)
    return turned.flatten(-2).to(x.dtype)
