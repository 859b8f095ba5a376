"""AdamW as JiT sets it, and its learning rate."""

import torch
from torch import nn

from trainables.config import OptimiserConfig


def adamw(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Fused AdamW; parameters of one dimension (biases, norms) are not decayed."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: OptimiserConfig, *, images: int) -> float:
    """The rate of the update that ends at `images`: linear from zero over the warm-up, then constant."""
    if images >= config.warmup_images:
        return config.learning_rate
    return config.learning_rate * images / config.warmup_images
