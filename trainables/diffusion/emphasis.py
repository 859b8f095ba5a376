"""How much of a trial's training each time has: density of t times weight of the squared error. Free of torch, for `plan`."""

import math
from itertools import pairwise

from trainables.config.diffusion import DiffusionConfig
from trainables.config.objective import MinSnrWeighting, SigmoidWeighting
from trainables.config.times import LogitNormal
from trainables.diffusion.t_sampling import distribution_of

EDGES = [edge / 10 for edge in range(-120, 121)]
"""Of bins of logit(t)."""
NEVER = 1e-6
"""A bin that fewer draws than this fall into counts as empty."""


def emphasis(diffusion: DiffusionConfig) -> list[float]:
    """The share of density times weight that lies in each bin: all that training knows of `t_sampling`, `loss` and
    `weighting`, but for a constant factor."""
    above = [distribution_of(diffusion.t_sampling).share_above(_sigmoid(edge)) for edge in EDGES]
    products = [
        (high - low) * weight(_sigmoid((left + right) / 2), diffusion) if high - low > NEVER else 0.0
        for (left, right), (high, low) in zip(pairwise(EDGES), pairwise(above), strict=True)
    ]
    whole = sum(products) or 1.0
    return [product / whole for product in products]


def apart(one: list[float], other: list[float]) -> float:
    """The share of the one emphasis that lies elsewhere in the other, 0 to 1."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


def weight(t: float, diffusion: DiffusionConfig) -> float:
    """By which the network's own squared error counts at t, 0 < t < 1: of the loss's space, times the weighting."""
    return _of_space(t, diffusion) * _of_weighting(t, diffusion)


def _of_space(t: float, diffusion: DiffusionConfig) -> float:
    """The squared factor of an error in `maths.convert`."""
    data, noise = max(1 - t, diffusion.t_eps_train), max(t, diffusion.t_eps_train)
    factors = {
        ("x", "v"): 1 / data,
        ("x", "eps"): t / data,
        ("eps", "x"): (1 - t) / noise,
        ("eps", "v"): 1 / noise,
        ("v", "x"): 1 - t,
        ("v", "eps"): t,
    }
    return factors.get((diffusion.prediction, diffusion.error_space), 1.0) ** 2


def _of_weighting(t: float, diffusion: DiffusionConfig) -> float:
    """As `weighting.WEIGHTINGS`."""
    snr = (t / ((1 - t) * diffusion.noise_scale)) ** 2
    match diffusion.weighting:
        case SigmoidWeighting(bias=bias, importance=importance):
            plain = math.exp(bias) * _sigmoid(math.log(snr) - bias)
            return plain / _doubled_density(t, diffusion) if importance else plain
        case MinSnrWeighting(gamma=gamma):
            return min(snr, gamma)
    return 1.0


def _doubled_density(t: float, diffusion: DiffusionConfig) -> float:
    """Twice the density of the log-SNR."""
    drawn = diffusion.t_sampling
    if not isinstance(drawn, LogitNormal):
        return t * (1 - t)
    away = (math.log(t / (1 - t)) - drawn.mu) / drawn.sigma
    return math.exp(-0.5 * away * away) / (drawn.sigma * math.sqrt(2 * math.pi))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
