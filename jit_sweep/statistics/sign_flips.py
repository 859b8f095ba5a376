"""A test that asks for nothing but symmetry: what if each seed's difference had the other sign?"""

from collections.abc import Sequence

import numpy as np

MOST_SEEDS_FLIPPED = 16
"""Of which all 2^n signs are tried; of more, Student's t needs no second opinion."""
EQUAL = 1e-12
"""Relative: sums of the same numbers in another order."""


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """The share of all 2^n signs whose mean is as far from 0 as the one found, at least 2 / 2^n; None of too many or no seeds.

    Source: Fisher 1935, section 21.
    """
    g = np.asarray(differences, dtype=np.float64)
    if not 1 <= len(g) <= MOST_SEEDS_FLIPPED:
        return None
    flips = np.arange(2 ** len(g))[:, None] >> np.arange(len(g)) & 1
    sums = np.abs((1 - 2 * flips) @ g)
    return float(np.mean(sums >= sums[0] * (1 - EQUAL)))
