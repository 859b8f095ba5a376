"""How well a classifier finds the classes of held-out images at fixed noise and times, in fp32."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.diffusion.evaluating import evaluating
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.metrics.heldout import HeldoutGrid, NoisyImages
from trainables.evaluation.metrics.one_pass import OnePass


class FoundClasses(NamedTuple):
    """Of each place of the grid."""

    surprise: Tensor
    """-log p(y | z, t), float64 [places]."""
    right: Tensor
    """Whether the likeliest class is the image's, bool [places]."""


class HeldoutClasses:
    """The grid of `HeldoutGrid`, whose images' classes are to be found."""

    mean_image_error = math.inf
    """A classifier makes no image, and has not collapsed where it is worse than chance on images that it never saw: it then is
    too sure."""

    def __init__(self, images: ImageSet, *, device: torch.device | str = "cpu") -> None:
        self._grid, self._device = HeldoutGrid(images, device=device), torch.device(device)
        self.images = self._grid.images
        self._pass: OnePass[FoundClasses] = OnePass()

    def found(self, network: nn.Module, trial: TrialConfig) -> FoundClasses:
        """NotFinite: the network's output is not finite."""
        return self._pass.of(network, lambda: self._computed(network, trial))

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it the network stays as it is: it is asked once for all metrics."""
        return self._pass.kept()

    def places(self, trial: TrialConfig, *, size: int) -> Iterator[NoisyImages]:
        """What the trial sees, in batches of up to `size`."""
        return self._grid.noisy(trial.noise_scale, size=size)

    def _computed(self, network: nn.Module, trial: TrialConfig) -> FoundClasses:
        size = images_at_once(trial, device=self._device.type)
        surprise, right = [], []
        with evaluating(network), torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            for z, t, y in self.places(trial, size=size):
                logits = network(z, t)
                surprise.append(F.cross_entropy(logits.double(), y, reduction="none"))
                right.append(logits.argmax(1) == y)
        return FoundClasses(require_finite(torch.cat(surprise), what="the held-out cross-entropies"), torch.cat(right))


def cross_entropy(grid: HeldoutClasses, network: nn.Module, trial: TrialConfig) -> float:
    """Mean over the grid of -log p(y | z, t)."""
    return float(grid.found(network, trial).surprise.mean())


def accuracy(grid: HeldoutClasses, network: nn.Module, trial: TrialConfig) -> float:
    """Share of the grid whose likeliest class is the image's."""
    return float(grid.found(network, trial).right.double().mean())
