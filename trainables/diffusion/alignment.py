"""How far a code is from a teacher's tokens at the same places (VA-VAE, arXiv 2501.01423)."""

import torch.nn.functional as F
from torch import Tensor


def of_places(said: Tensor, true: Tensor, *, margin: float) -> Tensor:
    """max(0, 1 - margin - cos) of each place, mean over the places: [B, N, W] twice -> [B]."""
    return F.relu(1 - margin - F.cosine_similarity(said, true, dim=-1)).mean(1)


def of_two_places(said: Tensor, true: Tensor, *, margin: float) -> Tensor:
    """max(0, |difference of both sides' cosines| - margin) of each two places of an image, mean over them: [B, N, W] twice ->
    [B]."""
    ours, theirs = (F.normalize(side, dim=-1) for side in (said, true))
    apart = ours @ ours.mT - theirs @ theirs.mT
    return F.relu(apart.abs() - margin).mean((1, 2))
