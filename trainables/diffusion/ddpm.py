"""Discrete diffusion of tokens with a learned variance, as MAR's head does it (arXiv 2006.11239, 2102.09672, 2406.11838).

Here alone time counts the other way: step s of S has the noisy w = sqrt(a_s) x + sqrt(1 - a_s) e, and s = 0 is nearly clean.
What is told of a token is its noise, and where between the two bounds the logarithm of the step's variance lies.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor

STEPS = 1000
"""Of the chain that is trained."""
LARGEST_BETA = 0.999
PIXEL = 1 / 255
"""Half the distance of two values of 256 in [-1, 1], within which the last step's likelihood is counted."""


class Chain(NamedTuple):
    """The constants of each step, float64 [S]."""

    steps: Tensor
    """The trained chain's step that the network is told, int64."""
    kept: Tensor
    """a: the variance that is still the token's."""
    kept_before: Tensor
    """The same of the step that is one cleaner; 1 of the first."""
    low: Tensor
    """Logarithm of the posterior's variance, where the variance is as small as can be; of the first step as of the second."""
    high: Tensor
    """Logarithm of beta, where it is as large as can be."""

    @classmethod
    def of(cls, steps: Sequence[int], *, kept: Tensor) -> Self:
        """The chain that goes through some steps of the trained one in rising order; `kept` [STEPS] are that one's."""
        own = kept[torch.tensor(steps)]
        before = torch.cat((torch.ones(1, dtype=own.dtype), own[:-1]))
        beta = 1 - own / before
        posterior = beta * (1 - before) / (1 - own)
        low = torch.cat((posterior[1:2] if len(steps) > 1 else beta, posterior[1:])).log()
        return cls(torch.tensor(steps), own, before, low, beta.log())

    def to(self, device: torch.device) -> "Chain":
        return Chain(*(part.to(device) for part in self))


def cosine_kept() -> Tensor:
    """a of the cosine schedule with betas of at most .999 (arXiv 2102.09672, equation 17), float64 [STEPS]."""
    curve = [math.cos((step / STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for step in range(STEPS + 1)]
    betas = [min(1 - after / before, LARGEST_BETA) for before, after in pairwise(curve)]
    return (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)


def chain(count: int = STEPS) -> Chain:
    """The trained chain, or so many of its steps as evenly spaced as whole numbers allow, with its first and last."""
    stride = (STEPS - 1) / (count - 1) if count > 1 else 1.0
    return Chain.of([round(stride * step) for step in range(count)], kept=cosine_kept())


def noisy(x: Tensor, e: Tensor, step: Tensor, chain: Chain) -> Tensor:
    """w = sqrt(a) x + sqrt(1 - a) e; x, e [..., P], step int64 [...]."""
    return _at(chain.kept.sqrt(), step) * x + _at((1 - chain.kept).sqrt(), step) * e


class Gaussian(NamedTuple):
    """What the network's output says of the step before, each [..., P]."""

    mean: Tensor
    log_variance: Tensor


def one_cleaner(output: Tensor, w: Tensor, step: Tensor, chain: Chain, *, limit: float | None = None) -> Gaussian:
    """Output [..., 2 P]: the noise, then v in [-1, 1] from the smallest variance to the largest. The clean token that it says
    is kept within [-limit, limit]: the first steps multiply what is wrong with the noise a thousandfold."""
    e, v = output.chunk(2, dim=-1)
    x = _at((1 / chain.kept).sqrt(), step) * w - _at((1 / chain.kept - 1).sqrt(), step) * e
    x = x if limit is None else x.clamp(-limit, limit)
    share = (v + 1) / 2
    low, high = _at(chain.low, step), _at(chain.high, step)
    return Gaussian(posterior_mean(x, w, step, chain), share * high + (1 - share) * low)


def posterior_mean(x: Tensor, w: Tensor, step: Tensor, chain: Chain) -> Tensor:
    """Of the token one step cleaner, where the clean one is x (arXiv 2006.11239, equation 7)."""
    kept, before = chain.kept, chain.kept_before
    beta = 1 - kept / before
    of_x, of_w = beta * before.sqrt() / (1 - kept), (1 - before) * (kept / before).sqrt() / (1 - kept)
    return _at(of_x, step) * x + _at(of_w, step) * w


def cleaner(
    output: Tensor,
    w: Tensor,
    step: Tensor,
    chain: Chain,
    *,
    noise: Tensor,
    temperature: float,
    limit: float | None = None,
) -> Tensor:
    """The token one step cleaner, drawn by standard normal noise [..., P] times the temperature; the last step draws none."""
    mean, log_variance = one_cleaner(output, w, step, chain, limit=limit)
    drawn = temperature * (0.5 * log_variance).exp() * noise
    return mean + torch.where(step[..., None] > 0, drawn, torch.zeros_like(drawn))


class HeadLoss(NamedTuple):
    """The two terms of each token, [...]."""

    squared: Tensor
    """Mean squared error of the noise."""
    bound: Tensor
    """Bits a number by which the step is coded worse than by the posterior, for the variance alone: the noise has no gradient
    of it."""


def head_loss(output: Tensor, x: Tensor, e: Tensor, step: Tensor, chain: Chain) -> HeadLoss:
    """Of output [..., 2 P] for the clean x and noise e [..., P] (arXiv 2102.09672, equation 16, unweighted)."""
    w = noisy(x, e, step, chain)
    of_noise, of_variance = output.chunk(2, dim=-1)
    squared = (e - of_noise).square().mean(-1)
    found = one_cleaner(torch.cat((of_noise.detach(), of_variance), dim=-1), w, step, chain)
    low = _at(chain.low, step)
    missed = (posterior_mean(x, w, step, chain) - found.mean).square()
    divergence = 0.5 * (found.log_variance - low - 1 + (low - found.log_variance).exp() + missed * (-found.log_variance).exp())
    bits = torch.where(step > 0, divergence.mean(-1), -_log_likelihood(x, found).mean(-1)) / math.log(2)
    return HeadLoss(squared, bits)


def _log_likelihood(x: Tensor, of: Gaussian) -> Tensor:
    """Of x as one of 256 values in [-1, 1], under a Gaussian, with tanh's approximation of its distribution function."""
    inverse, centred = (-0.5 * of.log_variance).exp(), x - of.mean
    upper, lower = _below(inverse * (centred + PIXEL)), _below(inverse * (centred - PIXEL))
    within = (upper - lower).clamp(min=1e-12).log()
    at_end = torch.where(x > 0.999, (1 - lower).clamp(min=1e-12).log(), within)
    return torch.where(x < -0.999, upper.clamp(min=1e-12).log(), at_end)


def _below(value: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def _at(constants: Tensor, step: Tensor) -> Tensor:
    """Float64 [S] at each step, float32 [..., 1]."""
    return constants.to(step.device)[step].float()[..., None]
