"""The training images that generated ones resemble most, by the features that they are scored on."""

import torch
from torch import Tensor

AT_ONCE = 4096
"""Training images that distances are computed to together."""


def nearest(features: Tensor, real: Tensor) -> Tensor:
    """The place in `real` [m, d] that is nearest to each of the features [k, d] by Euclid, int64 [k]; of equals the first."""
    best, places = torch.full((len(features),), torch.inf), torch.zeros(len(features), dtype=torch.int64)
    for first in range(0, len(real), AT_ONCE):
        distance, place = torch.cdist(features, real[first : first + AT_ONCE]).min(1)
        closer = distance < best
        best, places = torch.where(closer, distance, best), torch.where(closer, place + first, places)
    return places
