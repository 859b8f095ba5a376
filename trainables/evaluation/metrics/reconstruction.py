"""The error of held-out images that an autoencoder makes again, without chance."""

from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.evaluating import evaluating
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.metrics.heldout import MOST_IMAGES, mean_image
from trainables.evaluation.metrics.one_pass import OnePass

RANGE = 2.0
"""Of a pixel as the network sees it, from -1 to 1."""


class HeldoutImages:
    """Held-out images on a device, spread evenly over their list."""

    def __init__(self, images: ImageSet, *, device: torch.device | str = "cpu") -> None:
        self.images = min(len(images.heldout), MOST_IMAGES)
        self._set = images
        self._x = to_unit(images.read(spread_evenly(images.heldout, self.images)).to(device))
        self._pass: OnePass[Tensor] = OnePass()

    def errors(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        """Mean squared error of each image, float64 [n], in fp32. NotFinite: the network's output is not finite."""
        return self._pass.of(network, lambda: self._computed(network, trial))

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it the network stays as it is: its images are made once for all metrics."""
        return self._pass.kept()

    @cached_property
    def mean_image_error(self) -> float:
        """That of an autoencoder which always answers the training images' mean."""
        return float(_squares(mean_image(self._set)[None].to(self._x.device), self._x).mean())

    def _computed(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        size = images_at_once(trial, device=self._x.device.type)
        time, label = torch.zeros(size, device=self._x.device), torch.zeros(size, dtype=torch.int64, device=self._x.device)
        with evaluating(network), torch.inference_mode(), torch.autocast(self._x.device.type, enabled=False):
            found = [_squares(network(x, time[: len(x)], label[: len(x)]), x) for x in self._x.split(size)]
        return require_finite(torch.cat(found), what="the held-out reconstruction errors")


def _squares(again: Tensor, x: Tensor) -> Tensor:
    """Mean squared error of each image, float64 [n]."""
    return (again - x).double().square().mean((1, 2, 3))


def error(grid: HeldoutImages, network: nn.Module, trial: TrialConfig) -> float:
    """Mean over the images of the mean squared error over an image's numbers."""
    return float(grid.errors(network, trial).mean())


def psnr(grid: HeldoutImages, network: nn.Module, trial: TrialConfig) -> float:
    """Peak signal-to-noise ratio in dB, the mean over the images; an image made again exactly counts as one to 1e-10."""
    return float((10 * torch.log10(RANGE**2 / grid.errors(network, trial).clamp_min(1e-10))).mean())
