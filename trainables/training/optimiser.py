"""A trial's optimiser, AdamW as JiT sets it, and the learning rate."""

import torch
from torch import nn

from trainables.config.optimiser import OptimiserConfig
from trainables.config.schedule import cosine_share
from trainables.config.trial import TrialConfig
from trainables.training.muon import Muon

RATE_IMAGES = 256
"""The batch size that a rate which scales with the batch is given for."""


def optimiser_of(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW | Muon:
    """As the trial's configuration says."""
    return Muon(network, config) if config.method == "muon" else adamw(network, config)


def adamw(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Fused AdamW; parameters of one dimension (biases, norms) are not decayed."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(trial: TrialConfig, *, images: int) -> float:
    """The rate of the update that ends at `images`: linear from zero over the warm-up, then constant or along a cosine."""
    config = trial.optimiser
    full = config.learning_rate * (trial.batch_size / RATE_IMAGES if config.scale_with_batch else 1.0)
    if images < config.warmup:
        return full * images / config.warmup
    return full * cosine_share(config, images=images)
