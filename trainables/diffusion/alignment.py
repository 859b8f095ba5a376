"""How far a code, or an image made of it, is from a teacher's tokens."""

import torch.nn.functional as F
from torch import Tensor


def of_places(said: Tensor, true: Tensor, *, margin: float) -> Tensor:
    """max(0, 1 - margin - cos) of each place, mean over the places: [B, N, W] twice -> [B] (VA-VAE, arXiv 2501.01423)."""
    return F.relu(1 - margin - F.cosine_similarity(said, true, dim=-1)).mean(1)


def of_two_places(said: Tensor, true: Tensor, *, margin: float) -> Tensor:
    """max(0, |difference of both sides' cosines| - margin) of each two places of an image, mean over them: [B, N, W] twice ->
    [B] (the same)."""
    ours, theirs = (F.normalize(side, dim=-1) for side in (said, true))
    apart = ours @ ours.mT - theirs @ theirs.mT
    return F.relu(apart.abs() - margin).mean((1, 2))


def perceived(said: Tensor, true: Tensor) -> Tensor:
    """Squared distance of each place's tokens of length 1, mean over the places: [B, N, W] twice -> [B] (LPIPS without its
    learned weights, arXiv 1801.03924)."""
    ours, theirs = (F.normalize(side, dim=-1) for side in (said, true))
    return (ours - theirs).square().sum(-1).mean(1)
