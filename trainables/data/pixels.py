"""Between pixels as they are stored and the numbers that a network sees."""

import torch
from torch import Tensor


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float32 in [-1, 1], contiguous: x = pixel / 127.5 - 1."""
    return pixels.to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


def to_pixels(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8: pixel = round(clip(127.5 (x + 1), 0, 255)), the inverse of `to_unit`; x must be finite."""
    return (127.5 * (x + 1)).clamp(0, 255).round().to(torch.uint8)
