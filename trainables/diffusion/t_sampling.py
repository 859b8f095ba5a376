"""How t is drawn in training: each distribution by its quantile function. Free of torch until a tensor is asked for."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trainables.config.times import CosineTimes, InterpolatedCosine, LogitNormal, Mode, ShiftedCosine, TSampling, Uniform

if TYPE_CHECKING:
    from torch import Tensor

Number = TypeVar("Number", "Tensor", float)
CUT = 15.0
"""Largest log-SNR of a shifted schedule, before the shift."""
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


class ModeTimes:
    """SD3's mode sampling (arXiv 2403.03206, equation 20): its t is our 1 - t."""

    def __init__(self, config: Mode) -> None:
        self._scale = config.scale

    def quantile(self, u: "Tensor") -> "Tensor":
        return self._at(u, (math.pi / 2 * u).cos())

    def share_above(self, t: float) -> float:
        return 1 - _share_below(t, lambda u: self._at(u, math.cos(math.pi / 2 * u)))

    def _at(self, u: Number, cosine: Number) -> Number:
        return u + self._scale * (cosine * cosine - 1 + u)


class CosineSchedule:
    """t = sigmoid(l / 2) of log-SNRs l on the cosine schedule, moved by 2 ln(shift) at noise and at data (arXiv 2301.11093).

    With a shift the schedule is cut to l within -15 and 15, as the paper does.
    """

    def __init__(self, config: CosineTimes | ShiftedCosine | InterpolatedCosine) -> None:
        self._cut = not isinstance(config, CosineTimes)
        match config:
            case InterpolatedCosine():
                self._at_noise, self._at_data = math.log(config.at_noise), math.log(config.at_data)
            case ShiftedCosine():
                self._at_noise = self._at_data = math.log(config.shift)
            case _:
                self._at_noise = self._at_data = 0.0

    def quantile(self, u: "Tensor") -> "Tensor":
        import torch

        return torch.sigmoid(self._moved(u, self._angle(u).tan().log()))

    def share_above(self, t: float) -> float:
        logit = math.log(t) - math.log1p(-t)
        return 1 - _share_below(logit, lambda u: self._moved(u, math.log(math.tan(self._angle(u)))))

    def _angle(self, u: Number) -> Number:
        """pi/2 u, or the part of it between the two cuts."""
        low, high = (math.atan(math.exp(end / 2)) for end in (-CUT, CUT)) if self._cut else (0.0, math.pi / 2)
        return low + u * (high - low)

    def _moved(self, u: Number, half_log_snr: Number) -> Number:
        return half_log_snr + u * self._at_data + (1 - u) * self._at_noise


def _share_below(value: float, quantile: Callable[[float], float]) -> float:
    """The u at which a rising quantile function has a value, by bisection."""
    low, high = 1e-12, 1 - 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(middle) < value else (low, middle)
    return low


T_SAMPLINGS: dict[str, Callable[[Any], TimeDistribution]] = {
    "logit_normal": LogitNormalTimes,
    "uniform": UniformTimes,
    "mode": ModeTimes,
    "cosine": CosineSchedule,
    "shifted": CosineSchedule,
    "interpolated": CosineSchedule,
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
