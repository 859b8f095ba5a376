"""How often the clamp on 1 - t acts, in closed form and without torch: what `plan` tells about a clamp axis."""

import math

from trainables.config import LogitNormal, TSampling


def clamped_share(t_sampling: TSampling, t_eps: float) -> float:
    """P(1 - t < t_eps): the share of training samples whose division by 1 - t is clamped; 0 where the clamp is off."""
    if t_eps == 0:
        return 0.0
    if isinstance(t_sampling, LogitNormal):
        logit = math.log1p(-t_eps) - math.log(t_eps)
        return 0.5 * math.erfc((logit - t_sampling.mu) / t_sampling.sigma / math.sqrt(2))
    return t_eps
