"""How t is drawn in training: each distribution by its quantile function. Free of torch until a tensor is asked for."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from trainables.config.trial import LogitNormal, TSampling, Uniform

if TYPE_CHECKING:
    from torch import Tensor

BELOW_ONE = 1.0 - 2.0**-24
"""The largest float32 below 1."""


class TimeDistribution(Protocol):
    """A distribution of t on (0, 1)."""

    def quantile(self, u: "Tensor") -> "Tensor":
        """The t below which a share u of the draws lies, float64 [B] in (0, 1) -> float64 [B]."""

    def share_above(self, t: float) -> float:
        """P(T > t), 0 < t < 1, in closed form and without torch."""


class LogitNormalTimes:
    """t = sigmoid(s), s ~ N(mu, sigma^2) (arXiv 2403.03206, equation 19, in our t)."""

    def __init__(self, config: LogitNormal) -> None:
        self._mu, self._sigma = config.mu, config.sigma

    def quantile(self, u: "Tensor") -> "Tensor":
        # Here and not at the top: `plan` tells about a clamp without torch.
        import torch

        return torch.sigmoid(self._mu + self._sigma * torch.special.ndtri(u))

    def share_above(self, t: float) -> float:
        logit = math.log(t) - math.log1p(-t)
        return 0.5 * math.erfc((logit - self._mu) / self._sigma / math.sqrt(2))


class UniformTimes:
    """t ~ U(0, 1)."""

    def __init__(self, config: Uniform) -> None:
        pass

    def quantile(self, u: "Tensor") -> "Tensor":
        return u

    def share_above(self, t: float) -> float:
        return 1 - t


T_SAMPLINGS: dict[str, Callable[[Any], TimeDistribution]] = {
    "logit_normal": LogitNormalTimes,
    "uniform": UniformTimes,
}
"""By the `kind` of their configuration in `TSampling`, which they are made from."""


def distribution_of(t_sampling: TSampling) -> TimeDistribution:
    """The distribution that a trial's configuration means."""
    return T_SAMPLINGS[t_sampling.kind](t_sampling)


def times(u: "Tensor", t_sampling: TSampling) -> "Tensor":
    """t by the quantile function, from u in (0, 1), float64 [B] -> float32 [B] in (0, 1).

    Every distribution of t uses the same u, so that trials which differ in it are paired.
    """
    # Rounding to float32 alone could reach 1, where an unclamped 1 - t is zero.
    return distribution_of(t_sampling).quantile(u).float().clamp(max=BELOW_ONE)
