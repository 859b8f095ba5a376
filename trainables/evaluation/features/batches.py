"""Features of many images, a few at a time: one rule for every network."""

from collections.abc import Callable

import torch
from torch import Tensor

_BATCH = {"cpu": 16, "cuda": 256}
"""Sixteen images keep a CPU's caches warm; a GPU wants its kernels full."""


def in_batches(images: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """What `embed` makes of uint8 images [n, C, H, W] (C = 1 or 3), in plain float32: [n, d] on the CPU.

    ValueError: images of another type or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        rule = "images must be uint8 of shape [n, 3, H, W] or [n, 1, H, W]"
        raise ValueError(f"{rule}, got {images.dtype} {list(images.shape)}; convert them with `to_pixels`")
    device = images.device.type
    size = _BATCH[device]
    with (
        torch.inference_mode(),
        torch.autocast(device, enabled=False),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        return torch.cat([embed(images[start : start + size].contiguous()).cpu() for start in range(0, len(images), size)])
