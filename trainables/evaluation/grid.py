"""A picture of samples: rows and columns in one PNG, in a fixed order so that the grids of a sweep line up."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trainables.storage.folder import put_file

_GAP = 2
_SEEN_SIZE = 96
_BACKGROUND = 255
_DOT = 40
_SQUARE = 256


def write_grid(images: Tensor, uri: str, *, columns: int) -> None:
    """Write uint8 images [k, C, H, W] (C = 1 or 3), k >= 1, row by row as a PNG at a path or URI.

    Small images are enlarged by a whole factor, pixel by pixel, to about 96 px a side.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images) or columns < 1:
        rule = "a grid needs uint8 images of shape [k, 3, H, W] or [k, 1, H, W] and at least one column"
        raise ValueError(f"{rule}, got {images.dtype} {list(images.shape)}, columns={columns}")
    put_file(uri, _png(_tiled(_enlarged(images.cpu()), columns=columns)))


def write_sheet(images: NDArray[np.uint8], uri: str, *, columns: int) -> None:
    """The same of images [k, H, W, C]."""
    write_grid(torch.from_numpy(images).permute(0, 3, 1, 2), uri, columns=columns)


def scatter(points: Tensor) -> Tensor:
    """Points [n, 2] of [-1, 1] as dark dots on a white square, y upwards: uint8 [1, 1, S, S]."""
    x, y = ((points.clamp(-1, 1) + 1) / 2 * (_SQUARE - 2)).long().unbind(1)
    picture = torch.full((1, 1, _SQUARE, _SQUARE), _BACKGROUND, dtype=torch.uint8)
    for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        picture[0, 0, _SQUARE - 2 - y + down, x + right] = _DOT
    return picture


def _enlarged(images: Tensor) -> Tensor:
    factor = max(1, _SEEN_SIZE // images.shape[-1])
    return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def _tiled(images: Tensor, *, columns: int) -> Tensor:
    """[k, C, H, W] -> [C, rows (H + gap), columns (W + gap)], empty places in the background's colour."""
    padded = F.pad(images, (0, _GAP, 0, _GAP), value=_BACKGROUND)
    rows = -(-len(images) // columns)
    empty = padded.new_full((rows * columns - len(images), *padded.shape[1:]), _BACKGROUND)
    _, channels, height, width = padded.shape
    tiles = torch.cat([padded, empty]).view(rows, columns, channels, height, width)
    return tiles.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


def _png(picture: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).squeeze(-1).numpy()).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
