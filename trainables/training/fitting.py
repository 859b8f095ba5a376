"""How a worker goes through its share of a batch within its memory."""

from typing import Protocol

import torch

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.networks.memory import Fit, fit
from trainables.training.batches import resident_bytes


class Limits(Protocol):
    """What is set for a worker; None is left to the memory model."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory of a worker; None: its GPU's own, and no limit on a CPU."""

    @property
    def micro_batch(self) -> int | None: ...

    @property
    def activation_checkpointing(self) -> bool | None: ...


def fitted(trial: TrialConfig, images: ImageSet, *, share: int, workers: int, limits: Limits) -> Fit:
    """The micro-batch and activation checkpointing of one of `workers` that computes `share` images of each update.

    An image set that lives on the GPU takes its part of the memory. Infeasible: not even one image fits.
    """
    device = torch.device(trial.device)
    memory = limits.memory_bytes or memory_of(device)
    return fit(
        trial,
        share=share,
        memory_bytes=None if memory is None else memory - resident_bytes(images, device),
        workers=workers,
        micro_batch=limits.micro_batch,
        activation_checkpointing=limits.activation_checkpointing,
    )


def memory_of(device: torch.device) -> int | None:
    """Bytes that a GPU has; None on a CPU, whose memory is not limited."""
    return None if device.type == "cpu" else torch.cuda.get_device_properties(device).total_memory
