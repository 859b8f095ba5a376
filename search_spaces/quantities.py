"""What a configuration costs, by name: quantities that are known before anything is trained, to limit or to minimise.

To add one: register it in `QUANTITIES`. Nothing else names it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.config.trial import TrialConfig
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.memory import Fit, peak_bytes


@dataclass(frozen=True)
class Quantity:
    """A cost in closed form: `of` a trial that trains on so many images."""

    name: str
    unit: str
    about: str
    of: Callable[[TrialConfig, int], float]


def _least_memory(trial: TrialConfig, images: int) -> float:
    return peak_bytes(trial, Fit(micro_batch=1, activation_checkpointing=True)) / 2**30


_REGISTERED = (
    Quantity(
        "parameters",
        "numbers",
        "trainable numbers of the network and of what its loss terms train beside it",
        lambda trial, _: parameter_count(trial),
    ),
    Quantity(
        "tokens", "patches", "image tokens of the transformer; a U-Net's or U-ViT's pixels", lambda trial, _: trial.grid**2
    ),
    Quantity(
        "token_dimension",
        "numbers",
        "a token's: channels x patch_size^2 of its patch, or the dimensions that it is lifted to",
        lambda trial, _: trial.token_dim,
    ),
    Quantity(
        "token_dimension_over_width",
        "ratio",
        "a token's numbers over the network's width, through which an answer must pass",
        lambda trial, _: trial.token_dim / trial.model.width,
    ),
    Quantity("forward_gflops", "GFLOPs", "one image's forward pass", lambda trial, _: forward_flops(trial) / 1e9),
    Quantity(
        "train_tflops",
        "TFLOPs",
        "training to the trial's budget",
        lambda trial, images: training_flops(trial, images=images) / 1e12,
    ),
    Quantity(
        "memory_gib",
        "GiB",
        "least memory of a worker that trains alone: one image at once, its activations recomputed",
        _least_memory,
    ),
)
QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _REGISTERED}


def excess(limits: Mapping[str, float], trial: TrialConfig, *, images: int) -> dict[str, float]:
    """By how much a trial is over each limit that it exceeds, as a share of the limit."""
    shares = {name: QUANTITIES[name].of(trial, images) / most - 1 for name, most in limits.items()}
    return {name: share for name, share in shares.items() if share > 0}
