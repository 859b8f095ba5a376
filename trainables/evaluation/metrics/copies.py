"""Whether generated images are copies: of training images, or of one another."""

import torch
from torch import Tensor

from trainables.evaluation.metrics.manifolds import nearest
from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference, References


def distance_ratio(features: Tensor, real: References) -> float:
    """Mean distance of features [n, d] to their nearest training image, over the held-out images' own."""
    sound(features, dimensions=real.train.features.shape[1])
    return float(nearest(features, real.train.features).mean()) / real.once(heldout_distance)


def ratios_without_each(features: Tensor, real: References, groups: Tensor) -> list[float]:
    """The ratio without each group: a mean over the images that stay."""
    own = nearest(features, real.train.features)
    heldout = real.once(heldout_distance)
    return [float(own[groups != group].mean()) / heldout for group in range(int(groups.max()) + 1)]


def heldout_distance(real: References) -> float:
    """Mean distance of the held-out images to their nearest training image, at least a tiny number."""
    return max(float(nearest(real.heldout.features, real.train.features).mean()), torch.finfo(torch.float32).tiny)


def diversity(features: Tensor, real: Reference) -> float:
    """Mean squared distance between two of the features [n, d], over that of two real images."""
    sound(features, dimensions=real.features.shape[1])
    return spread(features) / real.once(spread)


def spread(features: Tensor) -> float:
    """Half the mean squared distance between two different rows of [n, d]: the sum of the features' variances."""
    return max(float(features.double().var(0).sum()), torch.finfo(torch.float32).tiny)
