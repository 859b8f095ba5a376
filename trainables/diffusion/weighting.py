"""How much an image counts in the loss by its time."""

from typing import Protocol

from torch import Tensor


class Weighting(Protocol):
    """One weighting. It runs inside a compiled step: tensors in, tensors out, and no branch on a tensor's values."""

    def __call__(self, losses: Tensor, t: Tensor) -> Tensor:
        """w(t) times the loss of each image, [B] and [B] -> [B]."""


def unweighted(losses: Tensor, t: Tensor) -> Tensor:
    """w = 1: the space of the loss alone weighs the times (JiT)."""
    return losses


WEIGHTINGS: dict[str, Weighting] = {
    "none": unweighted,
}
