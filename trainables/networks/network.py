"""What the trainer, the sampler and the adapters know of a network, whatever its parts."""

from torch import Tensor, nn

from trainables.config.trial import TrialConfig


class Network(nn.Module):
    """o(z, t, y): z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null)."""

    trial: TrialConfig
    activation_checkpointing: bool
    """Recompute each block in the backward pass instead of keeping what it needs."""
    noise_scale: Tensor
    """Standard deviation of the noise, a scalar."""
