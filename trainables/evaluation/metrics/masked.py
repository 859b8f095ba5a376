"""The head's error on masked tokens of held-out images, at fixed masks, times and noise."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.lift import AS_IT_IS
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.metrics.heldout import MOST_IMAGES
from trainables.evaluation.metrics.one_pass import OnePass
from trainables.methods.masked_tokens import noise_of, shown
from trainables.networks.masked_autoencoder import MaskedAutoencoder, Masking
from trainables.networks.masked_layout import masked_count
from trainables.networks.network import Space

SHARES = (0.7, 0.8, 0.9, 1.0)
"""Of masked tokens, from image to image in turn, whatever a trial was trained on."""


class HeldoutTokens:
    """Held-out images on a device, spread evenly over their list; masks, times and noise are keyed by `seed` and place.
    `space`: the trials', whose tokens they are."""

    mean_image_error = 1.0
    """What no sound model exceeds: the error of a head that says no noise."""

    def __init__(self, images: ImageSet, *, space: Space = AS_IT_IS, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.images = min(len(images.heldout), MOST_IMAGES)
        chosen = spread_evenly(images.heldout, self.images)
        self._x, self._y = space.up(to_unit(images.read(chosen).to(device))), images.labels(chosen).to(device)
        self._draws = PhiloxDraws(seed)
        self._pass: OnePass[Tensor] = OnePass()

    def errors(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        """Mean squared error of the noise over each image's masked tokens, float64 [n], in fp32. NotFinite: it is none."""
        return self._pass.of(network, lambda: self._computed(network, trial))

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it the network stays as it is: it is asked once for all metrics."""
        return self._pass.kept()

    def _computed(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        assert isinstance(network, MaskedAutoencoder)
        count, device, size = trial.grid**2, self._x.device, images_at_once(trial, device=self._x.device.type)
        order = self._normal(Purpose.MASK_ORDER, count).argsort(1).to(device)
        t = torch.special.ndtr(self._normal(Purpose.HEAD_TIME, 1, count)).to(device)
        e = self._normal(Purpose.HELDOUT_NOISE, 1, count, trial.token_dim).to(device)
        errors = torch.zeros(self.images, dtype=torch.float64, device=device)
        with evaluating(network), torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for place, share in enumerate(SHARES):
                for own in torch.arange(place, self.images, len(SHARES), device=device).split(size):
                    masking = Masking(order[own], masked_count(share, count))
                    seen = shown(network, self._x[own], noise_of(e[own], masking.masked), t[own], self._y[own], masking)
                    missed = seen.output.chunk(2, dim=-1)[0] - seen.e
                    errors[own] = missed.double().square().mean((1, 2, 3))
        return require_finite(errors, what="the held-out errors of masked tokens")

    def _normal(self, purpose: Purpose, *shape: int) -> Tensor:
        return self._draws.normal(purpose, first=0, count=self.images, shape=shape)


def error(grid: HeldoutTokens, network: nn.Module, trial: TrialConfig) -> float:
    """Mean over the images of the error over an image's masked tokens."""
    return float(grid.errors(network, trial).mean())
