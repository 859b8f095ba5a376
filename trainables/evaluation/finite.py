"""The check that weights, samples and errors are finite numbers: a trial that has others has diverged."""

import torch
from torch import Tensor


class NotFinite(ArithmeticError):
    """Weights, samples or an error are not finite: the trial has diverged."""


def require_finite(values: Tensor, *, what: str) -> Tensor:
    """The values, unchanged. NotFinite: one of them is NaN or infinite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise NotFinite(f"{what} must be finite, got {bad} of {values.numel()} that are not; the weights have diverged")
    return values
