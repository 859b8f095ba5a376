"""What an update minimises: a sum of terms, weighted by time."""

import functools
import operator
from collections.abc import Sequence

from torch import Tensor

from trainables.config.trial import DiffusionConfig
from trainables.diffusion.terms import TERMS
from trainables.diffusion.weighting import WEIGHTINGS


def loss(
    output: Tensor,
    x: Tensor,
    e: Tensor,
    z: Tensor,
    t: Tensor,
    diffusion: DiffusionConfig,
    *,
    t_eps: float | Tensor | None = None,
    terms: Sequence[str] = ("squared_error",),
    weighting: str = "none",
) -> Tensor:
    """w(t) times the sum of the terms of each image, [B]; `t_eps` is the configured one where none is given."""
    clamp = diffusion.t_eps_train if t_eps is None else t_eps
    values = [TERMS[name](output, x, e, z, t, diffusion, t_eps=clamp) for name in terms]
    return WEIGHTINGS[weighting](functools.reduce(operator.add, values), t)
