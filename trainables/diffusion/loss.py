"""What an update minimises: the squared error, weighted by time, and the terms beside it."""

from collections.abc import Mapping

from torch import Tensor

from trainables.config.diffusion import DiffusionConfig
from trainables.config.objective import TappedTerm
from trainables.diffusion.tapped import TAPPED, Told
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
    told: Mapping[str, Told] | None = None,
) -> Tensor:
    """w(t) times the squared error of each image and the weighted terms beside it, [B].

    `t_eps` is the configured one where none is given. `told`: what the terms compare that read tokens, by their kind.
    """
    clamp = diffusion.t_eps_train if t_eps is None else t_eps
    squared = TERMS["squared_error"](output, x, e, z, t, diffusion, t_eps=clamp)
    total = WEIGHTINGS[diffusion.weighting.kind](squared, t, diffusion)
    for term in diffusion.terms:
        if isinstance(term, TappedTerm):
            assert told is not None, "a term that reads tokens is told of them"
            added = TAPPED[term.kind](told[term.kind])
        else:
            added = TERMS[term.kind](output, x, e, z, t, diffusion, t_eps=clamp)
        total = total + term.weight * added
    return total
