"""What an update minimises: the squared error, weighted by time, and the terms beside it."""

from collections.abc import Mapping

from torch import Tensor

from trainables.config.diffusion import DiffusionConfig, Target
from trainables.config.objective import TappedTerm
from trainables.diffusion.stages import WHOLE, PathStage
from trainables.diffusion.tapped import TAPPED, Told
from trainables.diffusion.terms import TERMS
from trainables.diffusion.weighting import weighting_of


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
    stage: PathStage = WHOLE,
) -> Tensor:
    """w(t) times the squared error of each image and the weighted terms beside it, [B].

    `t_eps` is the configured one where none is given. `told`: what the terms compare that read tokens, by their kind.

    The true output o* goes through the same conversion as o, so a perfect output has exactly zero loss at every t in every
    cell; x-prediction with v-loss is the official JiT loss. Regressing x - e against a clamped (o - z) / d instead trains to
    black images.
    """
    clamp, source = diffusion.t_eps_train if t_eps is None else t_eps, diffusion.prediction
    true = stage.truth(x, e, source)

    def compared(term: str, space: Target) -> Tensor:
        ours, theirs = (stage.convert(o, z, t, source=source, target=space, t_eps=clamp) for o in (output, true))
        return TERMS[term](ours, theirs, t)

    total = weighting_of(diffusion)(compared("squared_error", diffusion.error_space), t, diffusion)
    for term in diffusion.terms:
        if isinstance(term, TappedTerm):
            assert told is not None, "a term that reads tokens is told of them"
            added = TAPPED[term.kind](told[term.kind])
        else:
            added = compared(term.kind, diffusion.loss)
        total = total + term.weight * added
    return total
