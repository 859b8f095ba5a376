"""The Inception score (Salimans et al., arXiv 1606.03498): clear classes within an image, many of them over the images."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from trainables.evaluation.real import Reference

PARTS = 10
_SEED = 2020
"""torch-fidelity's: it decides which images share a part."""


def inception_score(features: Tensor, real: Reference) -> float:
    """The score of the classes that the reference's network sees, over 10 parts. ValueError: it knows no classes."""
    if real.classify is None:
        raise ValueError("an Inception score needs a network with classes, got one without; try another metric")
    return score_of_logits(real.classify(features), parts=PARTS)


def score_of_logits(logits: Tensor, *, parts: int) -> float:
    """Mean over parts of exp(E KL(p(y|x) | p(y))) of logits [n, classes], shuffled as torch-fidelity does."""
    order = np.random.RandomState(_SEED).permutation(len(logits)) if parts > 1 else np.arange(len(logits))
    p = torch.softmax(logits.double()[torch.from_numpy(order)], 1)
    bounds = [len(p) * part // parts for part in range(parts + 1)]
    return float(torch.stack([_of_part(p[low:high]) for low, high in pairwise(bounds)]).mean())


def _of_part(p: Tensor) -> Tensor:
    mean = p.mean(0, keepdim=True)
    return torch.exp((torch.xlogy(p, p) - p * mean.log()).sum(1).mean())
