"""How often the training clamp acts, in closed form and without torch: what `plan` tells about a clamp axis."""

import math

from trainables.config.trial import DiffusionConfig, LogitNormal, TSampling


def clamped_share(diffusion: DiffusionConfig) -> float:
    """The share of training samples whose conversion from the prediction to the loss divides by the clamp.

    An x-prediction divides by 1 - t, an eps-prediction by t, a v-prediction or a loss in the prediction's own space by nothing.
    """
    if diffusion.prediction in (diffusion.loss, "v") or diffusion.t_eps_train == 0:
        return 0.0
    if diffusion.prediction == "x":
        return share_above(1 - diffusion.t_eps_train, diffusion.t_sampling)
    return 1 - share_above(diffusion.t_eps_train, diffusion.t_sampling)


def share_above(t: float, t_sampling: TSampling) -> float:
    """P(T > t), 0 < t < 1."""
    if isinstance(t_sampling, LogitNormal):
        logit = math.log(t) - math.log1p(-t)
        return 0.5 * math.erfc((logit - t_sampling.mu) / t_sampling.sigma / math.sqrt(2))
    return 1 - t
