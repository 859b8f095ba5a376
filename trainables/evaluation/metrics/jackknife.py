"""The standard error of a score by the delete-a-group jackknife (Shao and Wu, 1989). Free of torch.

    SE^2 = (G - 1) / G  sum_g (s_g - mean s)^2,   s_g: the score without group g

Of a Frechet distance the bootstrap would be several times too wide: repeated images shrink the covariance.
"""

import math
from collections.abc import Mapping, Sequence

GROUPS = 16


def standard_error(without_each: Sequence[float]) -> float | None:
    """From the scores without each of the groups; None of fewer than two. For a contrast, of their differences."""
    count = len(without_each)
    if count < 2:
        return None
    mean = math.fsum(without_each) / count
    return math.sqrt((count - 1) / count * math.fsum((value - mean) ** 2 for value in without_each))


def standard_errors(without_each: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """By metric name, of those that have one."""
    known = {name: standard_error(parts) for name, parts in without_each.items()}
    return {name: error for name, error in known.items() if error is not None}


def group_of(n: int) -> list[int]:
    """Which group each of n images is in: 16 of equal size, and -1 for the few that are left over. Empty below 32 images.

    Equal sizes, since a Frechet distance's bias differs with the number of images.
    """
    size = n // GROUPS
    return [place % GROUPS if place < size * GROUPS else -1 for place in range(n)] if size >= 2 else []
