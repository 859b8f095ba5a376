"""The check that features can be compared at all, which every metric of samples makes first."""

import torch
from torch import Tensor


def sound(features: Tensor, *, dimensions: int | None = None) -> Tensor:
    """Features [n, d] unchanged. ValueError: fewer than 2, not finite, or of other dimensions than the reference's."""
    if features.ndim != 2 or len(features) < 2 or not features.is_floating_point():
        rule = "features must be floating-point numbers of shape [n, d] with n >= 2"
        raise ValueError(f"{rule}, got {features.dtype} {list(features.shape)}; score two images or more")
    if dimensions is not None and features.shape[1] != dimensions:
        rule = f"features must have the reference's {dimensions} dimensions"
        raise ValueError(f"{rule}, got {list(features.shape)}; use one extractor on both sides")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite, got NaN or infinity; score finite images only")
    return features
