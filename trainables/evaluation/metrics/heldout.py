"""The error of the predicted velocity on images that were never trained on, at fixed noise and times.

Every trial meets the same (image, noise, t), whatever it predicts and whatever its loss, so the errors compare from the first
step on; a Frechet distance at that stage prefers a collapsed model's noise to blurred pictures.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainables.config.path import FLOW, DiffusionPath
from trainables.config.times import LogitNormal
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.lift import AS_IT_IS, Lift
from trainables.diffusion.stages import PathStage, path_stages
from trainables.diffusion.t_sampling import times
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.metrics.of_networks import BINS, STEPS_APART
from trainables.evaluation.metrics.one_pass import OnePass
from trainables.networks.latent import Latent

MOST_IMAGES = 384
"""Held-out images on the grid at most, spread evenly over the held-out list."""

_READ_AT_ONCE = 64
_TIMES = 16
_TIMES_PER_IMAGE = _TIMES // STEPS_APART
_T_SAMPLING = LogitNormal(mu=-0.8, sigma=0.8)
"""Where the grid's times lie, whatever a trial was trained on: JiT's own. Evenly spaced times would say next to nothing but
how a model does close to t = 1, where 1 / (1 - t)^2 multiplies the error of an x-prediction a thousandfold."""


class _Errors(NamedTuple):
    """Mean squared errors of v of each place, float64 [places]."""

    seen: Tensor
    """Over what the network sees, lifted or not."""
    pixels: Tensor
    """Over the pixels."""


class NoisyImages(NamedTuple):
    """A few places of the grid."""

    z: Tensor
    """[B, C, H, W]."""
    t: Tensor
    """[B]."""
    y: Tensor
    """The images' classes, int64 [B]."""


class HeldoutGrid:
    """The grid: image i at the quantiles (j + 1/2) / 16 of t with j = i modulo 8, so that all times are covered alike.

    Images and noise stay on `device`; the noise is keyed by `seed` and the place on the grid. `lift`: that of the trials;
    `latent`: whose codes they see, of which everything here is then, and nothing of pixels; `path`: theirs, in each of whose
    stages the grid is met once.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        lift: Lift = AS_IT_IS,
        latent: Latent | None = None,
        path: DiffusionPath = FLOW,
    ) -> None:
        self._images, self._stages = images, path_stages(path)
        self.images = count = min(len(images.heldout), MOST_IMAGES)
        chosen = spread_evenly(images.heldout, count)
        self._lift, self._latent = lift, latent
        self._x = (latent or lift).up(to_unit(images.read(chosen).to(device)))
        self._y = images.labels(chosen).to(device)
        places = torch.arange(count * _TIMES_PER_IMAGE, device=device)
        self._image = places // _TIMES_PER_IMAGE
        stride = STEPS_APART
        self._step = self._image % stride + stride * (places % _TIMES_PER_IMAGE)
        quantile = (self._step + 0.5) / _TIMES
        self._t = times(quantile, _T_SAMPLING)
        self._n = self._noise(PhiloxDraws(seed), tuple(images.read(chosen[:1]).shape[1:])).to(device)
        self._pass: OnePass[_Errors] = OnePass()

    def _noise(self, draws: PhiloxDraws, pixels: tuple[int, ...]) -> Tensor:
        """Standard normal, of each place. Projected onto the pixels of lifted images it is what a trial without a lift meets,
        so that errors in pixels compare place by place; points keep noise of their own."""
        own = partial(draws.normal, Purpose.HELDOUT_NOISE, first=0, count=len(self._t))
        noise = own(shape=tuple(self._x.shape[1:]))
        if self._lift.dimensions is None or pixels[-1] == 1:
            return noise
        return noise + self._lift.up(own(shape=pixels) - self._lift.down(noise))

    def v_error(self, network: nn.Module, trial: TrialConfig) -> float:
        """Mean over the grid and what the network sees of (v_hat - v)^2, v = x - e, in fp32 and without dropout.

        NotFinite: the network's output is not finite.
        """
        return float(self._errors(network, trial).seen.mean())

    def pixel_v_error(self, network: nn.Module, trial: TrialConfig) -> float:
        """The same over the pixels, of v_hat - v projected onto what was lifted; v_error where nothing is lifted."""
        return float(self._errors(network, trial).pixels.mean())

    def error_at(self, place: int, network: nn.Module, trial: TrialConfig, *, space: Literal["v", "x"]) -> float:
        """The error in quarter `place` of the grid by t, from 0, the noisiest: of v, or of x = z + (1 - t) v."""
        errors = self._errors(network, trial).seen
        if space == "x":
            errors = errors * (1 - self._t.double()).square()
        return float(errors[self._step * BINS // _TIMES == place].mean())

    def noisy(self, noise_scale: float, *, size: int) -> Iterator[NoisyImages]:
        """The grid's images as a trial of this noise scale sees them in the flow, in batches of up to `size`."""
        for start in range(0, len(self._t), size):
            places = slice(start, start + size)
            image, t = self._image[places], self._t[places]
            example = self._stages[0].example(self._x[image], noise_scale * self._n[places], t)
            yield NoisyImages(example.z, t, self._y[image])

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it the network stays as it is: what it answers on the grid is computed once for all metrics."""
        return self._pass.kept()

    def _errors(self, network: nn.Module, trial: TrialConfig) -> _Errors:
        """Of each place."""
        return self._pass.of(network, lambda: self._computed(network, trial))

    def _computed(self, network: nn.Module, trial: TrialConfig) -> _Errors:
        size = images_at_once(trial, device=self._x.device.type)
        starts = range(0, len(self._t), size)
        with evaluating(network), torch.inference_mode(), torch.autocast(self._x.device.type, enabled=False):
            squares = [
                self._squares(network, trial, stage, slice(start, start + size)) for stage in self._stages for start in starts
            ]
        what = "the held-out velocity errors"
        return _Errors(*(require_finite(torch.cat(parts), what=what) for parts in zip(*squares, strict=True)))

    @cached_property
    def mean_image_error(self) -> float:
        """The v-error in pixels of an x-prediction that always answers the training images' mean, or their codes' among codes:
        what no sound model exceeds.

        v_hat - v = (m - x) / (1 - t) of the flow: the noise drops out, and its scale with it.
        """
        mean = (mean_image(self._images) if self._latent is None else self._latent.mean_code)[None].to(self._x.device)
        starts = range(0, len(self._t), _READ_AT_ONCE)
        places = [slice(start, start + _READ_AT_ONCE) for start in starts]
        return float(torch.cat([self._squares_of(mean, stage, place) for stage in self._stages for place in places]).mean())

    def _squares_of(self, answer: Tensor, stage: PathStage, places: slice) -> Tensor:
        """Mean squared error of v in pixels of each place where an image [1, C, H, W] is always the answer, float64 [B]."""
        away = (answer - self._lift.down(self._x[self._image[places]])).double()
        t, nothing = self._t[places].double(), torch.zeros_like(away)
        away, _, nothing, t = stage.example(away, nothing, t)
        v = stage.convert(away, torch.zeros_like(nothing), t, source="x", target="v", t_eps=0.0)
        return v.square().mean((1, 2, 3))

    def _squares(self, network: nn.Module, trial: TrialConfig, stage: PathStage, places: slice) -> _Errors:
        image, t = self._image[places], self._t[places]
        noise_scale = trial.diffusion.noise_scale
        x, e, z, t = stage.example(self._x[image], noise_scale * self._n[places], t)
        output = network(*stage.seen(z, t, noise_scale), self._y[image])
        # No clamp: the grid lies within 0.09 < t < 0.67, and a clamp would favour one prediction over another.
        v = stage.convert(output, z, t, source=trial.diffusion.prediction, target="v", t_eps=0.0)
        missed = v - stage.truth(x, e, "v")
        return _Errors(*(part.double().square().mean((1, 2, 3)) for part in (missed, self._lift.down(missed))))


def v_error(grid: HeldoutGrid, network: nn.Module, trial: TrialConfig) -> float:
    """The network's error on the grid; see `HeldoutGrid.v_error`."""
    return grid.v_error(network, trial)


def pixel_v_error(grid: HeldoutGrid, network: nn.Module, trial: TrialConfig) -> float:
    """The network's error on the grid in pixels; see `HeldoutGrid.pixel_v_error`."""
    return grid.pixel_v_error(network, trial)


@dataclass(frozen=True)
class ErrorAt:
    """A metric: the error in one quarter of the grid."""

    space: Literal["v", "x"]
    place: int

    def __call__(self, grid: HeldoutGrid, network: nn.Module, trial: TrialConfig) -> float:
        """See `HeldoutGrid.error_at`."""
        return grid.error_at(self.place, network, trial, space=self.space)


class Quarters(NamedTuple):
    """The quarters by log-SNR, the noisiest first."""

    snr1: ErrorAt
    snr2: ErrorAt
    snr3: ErrorAt
    snr4: ErrorAt


V_ERROR = Quarters(*(ErrorAt("v", place) for place in range(BINS)))
X_ERROR = Quarters(*(ErrorAt("x", place) for place in range(BINS)))


def mean_image(images: ImageSet) -> Tensor:
    """Mean of the training images as the network sees them, float32 [C, H, W]."""
    chunks = (images.train[first : first + _READ_AT_ONCE] for first in range(0, len(images.train), _READ_AT_ONCE))
    total = sum(images.read(chunk).sum(0, dtype=torch.int64) for chunk in chunks)
    return to_unit(torch.as_tensor(total).double() / len(images.train))
