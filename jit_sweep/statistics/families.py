"""Many questions of one sweep: how sure each answer is when all are asked at once."""

import numpy as np
from numpy.typing import ArrayLike

from jit_sweep.statistics.contrasts import Figures


def holm(p_values: ArrayLike) -> Figures:
    """p(i) -> max over j <= i of min(1, (m - j + 1) p(j)), in the given order along the last axis, [..., m].

    A question that could not be asked (NaN) keeps its place with p = 1.
    Source: Holm 1979.
    """
    p = np.nan_to_num(np.asarray(p_values, dtype=np.float64), nan=1.0)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.arange(p.shape[-1], 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps * np.take_along_axis(p, order, axis=-1), axis=-1))
    there_and_back = np.argsort(order, axis=-1, kind="stable")
    return np.take_along_axis(adjusted, there_and_back, axis=-1)
