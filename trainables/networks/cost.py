"""What a configuration costs, in closed form and without torch: parameters and multiply-adds of one image's forward pass."""

from trainables.config.trial import TrialConfig
from trainables.networks.registry import parts_of


def parameter_count(trial: TrialConfig) -> int:
    """Trainable numbers of the network."""
    return sum(part.parameters() for part in parts_of(trial))


def forward_macs(trial: TrialConfig) -> int:
    """Multiply-adds of matrix products and convolutions in one image's forward pass."""
    return sum(part.macs().forward for part in parts_of(trial))


def forward_flops(trial: TrialConfig) -> int:
    """Floating-point operations of one image's forward pass: twice the multiply-adds."""
    return 2 * forward_macs(trial)


def training_flops(trial: TrialConfig, *, images: int) -> int:
    """Floating-point operations of training on `images`: a forward pass, and a backward pass of twice its cost but for the
    gradients of the images and of the sinusoids of t, which nobody needs."""
    unneeded = sum(part.macs().input_gradient for part in parts_of(trial))
    return (3 * forward_flops(trial) - 2 * unneeded) * images
