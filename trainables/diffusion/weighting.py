"""How much the squared error of an image counts in the loss by its time."""

import math
from typing import Protocol

import torch
from torch import Tensor

from trainables.config.diffusion import DiffusionConfig
from trainables.config.objective import MinSnrWeighting, SigmoidWeighting
from trainables.config.path import KarrasPath
from trainables.config.times import LogitNormal
from trainables.diffusion.noise_levels import level_weight


class Weighting(Protocol):
    """One weighting. It runs inside a compiled step: tensors in, tensors out, and no branch on a tensor's values."""

    def __call__(self, losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
        """w(t) times the squared error of each image, [B] and [B] -> [B]."""


def unweighted(losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """w = 1: the space of the loss alone weighs the times (JiT)."""
    return losses


def sigmoid(losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """e^b sigmoid(l - b) at log-SNR l, of errors of x (SiD2); by the density of l over `t_sampling`, where asked for."""
    config = diffusion.weighting
    assert isinstance(config, SigmoidWeighting)
    level = log_snr(t, diffusion)
    weight = math.exp(config.bias) * torch.sigmoid(level - config.bias)
    if config.importance:
        weight = weight / doubled_density(t, diffusion)
    return weight * losses


def min_snr(losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """min(SNR, gamma), of errors of x (arXiv 2303.09556)."""
    config = diffusion.weighting
    assert isinstance(config, MinSnrWeighting)
    return log_snr(t, diffusion).exp().clamp(max=config.gamma) * losses


def by_level(losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """One over the distance to the next noise level, of errors of x (EPG)."""
    path = diffusion.path
    assert isinstance(path, KarrasPath)
    return level_weight(t, path.levels) * losses


def doubled_density(t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """Twice the density of the log-SNR under `t_sampling` at each t, p(t) t (1 - t), [B]: |dl/dt| = 2 / (t (1 - t))."""
    config = diffusion.t_sampling
    if not isinstance(config, LogitNormal):
        return t * (1 - t)
    away = (torch.logit(t) - config.mu) / config.sigma
    return torch.exp(-0.5 * away.square()) / (config.sigma * math.sqrt(2 * math.pi))


def log_snr(t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    """2 ln(t / ((1 - t) noise_scale)), [B]."""
    return 2 * torch.logit(t) - 2 * math.log(diffusion.noise_scale)


WEIGHTINGS: dict[str, Weighting] = {
    "none": unweighted,
    "sigmoid": sigmoid,
    "min_snr": min_snr,
}
"""By the `kind` of their configuration in `config.objective.Weighting`."""


def weighting_of(diffusion: DiffusionConfig) -> Weighting:
    """The configured one, or that of a path which has its own."""
    return by_level if isinstance(diffusion.path, KarrasPath) else WEIGHTINGS[diffusion.weighting.kind]
