"""The terms of a loss that read what a network's tokens tell: each compares what a module made of them with the truth."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Told(NamedTuple):
    """What a module made of an image's tokens, and what it should have made, of a batch."""

    said: Tensor
    true: Tensor


TappedLoss = Callable[[Told], Tensor]
"""Of each image, [B]. It runs inside a compiled step: no branch on a tensor's values."""


def cross_entropy(told: Told) -> Tensor:
    """-log p(y), [B], of logits [B, K] and classes y int64 [B]."""
    return F.cross_entropy(told.said.float(), told.true, reduction="none")


def misalignment(told: Told) -> Tensor:
    """1 - cos between what was made of each token and the teacher's, both [B, N, W], mean over the tokens, [B] (REPA)."""
    return (1 - F.cosine_similarity(told.said.float(), told.true, dim=-1)).mean(1)


TAPPED: dict[str, TappedLoss] = {
    "classifier": cross_entropy,
    "representation": misalignment,
}
"""By the term's kind."""
