"""What a planned contrast will be able to see, from the spread of one seed and the number of seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.statistics.contrasts import prior_weight
from jit_sweep.statistics.student_t import t_upper

POWER = 0.8
"""The chance of a verdict that "would be seen" stands for."""


class Precision(NamedTuple):
    """Of a contrast's estimate."""

    se: float
    dof: int


def planned_precision(coefficients: Sequence[float], *, sigma: float, seeds: int, residual_dof: int) -> Precision:
    """se = sigma sqrt(sum c^2 / n) for a spread sigma of one seed, with the degrees of freedom of `contrast_test`.

    `residual_dof`: of the stage; (arms - 1) (seeds - 1) where all arms have the same `seeds` >= 2.
    """
    norm = math.sqrt(math.fsum(c * c for c in coefficients) / seeds)
    return Precision(sigma * norm, seeds - 1 + prior_weight(seeds - 1, residual_dof))


def detectable_gap(precision: Precision, *, alpha: float = 0.05, family: int = 1) -> float:
    """(t_{1 - alpha / (2 m), df} + t_{.8, df}) se: the gap that is seen four times in five by the strictest step of Holm's.

    Source: near the noncentral t; Lehmann and Romano 2005, section 5.2.
    """
    least_t = t_upper(precision.dof, tail=alpha / (2 * family))
    return (least_t + t_upper(precision.dof, tail=1 - POWER)) * precision.se
