"""How surely an encoder finds a held-out image by another, noisy view of it, in fp32."""

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.karras_grid import SMALLEST
from trainables.diffusion.noise_levels import at_level
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.metrics.heldout import MOST_IMAGES
from trainables.evaluation.metrics.one_pass import OnePass
from trainables.methods.encoder_pretraining import info_nce
from trainables.methods.views import NUMBERS, VIEWS, view
from trainables.networks.encoder_pretrainer import EncoderPretrainer, Known

GROUP = 32
"""Images that are told apart, whatever a trial's own group is; the last of the list that fill none are left out."""
LEVELS = (4.0, 1.0, 0.25, SMALLEST)
"""Sigmas, times the trial's noise_scale, of the view that asks; the one that is found is at the last of them."""
TEMPERATURE = 0.1
LEAST_SIDE = 0.6
"""Of a crop over the image's side. None is mirrored: not all images may be."""


class HeldoutViews:
    """Held-out images on a device, spread evenly over their list; views and noise are keyed by `seed` and place."""

    mean_image_error = math.inf
    """An encoder makes no image, and has not collapsed where it is worse than chance."""

    def __init__(self, images: ImageSet, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        most = min(len(images.heldout), MOST_IMAGES)
        self.group = min(GROUP, most)
        self.images = most // self.group * self.group
        x = to_unit(images.read(spread_evenly(images.heldout, self.images)).to(device))
        draws = PhiloxDraws(seed)
        made = torch.special.ndtr(draws.normal(Purpose.VIEWS, first=0, count=self.images, shape=(VIEWS, NUMBERS))).to(device)
        made[..., 0] = 0.0
        self._asking, self._found = (view(x, made[:, place], least_side=LEAST_SIDE) for place in range(VIEWS))
        shape = (len(LEVELS) + 1, *x.shape[1:])
        self._n = draws.normal(Purpose.HELDOUT_NOISE, first=0, count=self.images, shape=shape).to(device)
        self._pass: OnePass[Tensor] = OnePass()

    def surprises(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        """-log of the share of the right image, float64 [levels, n]. NotFinite: it is none."""
        return self._pass.of(network, lambda: self._computed(network, trial))

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it the network stays as it is: it is asked once for all metrics."""
        return self._pass.kept()

    def _computed(self, network: nn.Module, trial: TrialConfig) -> Tensor:
        assert isinstance(network, EncoderPretrainer)
        with evaluating(network), torch.inference_mode(), torch.autocast(self._n.device.type, enabled=False):
            keys = self._tokens(network, trial, self._found, SMALLEST, len(LEVELS))
            asked = [self._tokens(network, trial, self._asking, sigma, place) for place, sigma in enumerate(LEVELS)]
            found = torch.stack([info_nce(each, keys, TEMPERATURE, self.group) for each in asked])
        return require_finite(found.double(), what="the held-out contrasts")

    def _tokens(self, network: EncoderPretrainer, trial: TrialConfig, x: Tensor, sigma: float, noise: int) -> Tensor:
        """Class tokens at a level, with the noise of this number, [n, D]."""
        tokens, scale = [], trial.noise_scale
        for place in torch.arange(len(x), device=x.device).split(images_at_once(trial, device=x.device.type)):
            sigmas = torch.full((len(place),), sigma, device=x.device)
            known: Known = network(*at_level(x[place], scale * self._n[place, noise], sigmas, scale), projected=0)
            tokens.append(known.tokens)
        return torch.cat(tokens)


def contrast(grid: HeldoutViews, network: nn.Module, trial: TrialConfig) -> float:
    """Mean over levels and images."""
    return float(grid.surprises(network, trial).mean())
