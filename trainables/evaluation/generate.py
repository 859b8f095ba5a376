"""Images from a trial's network: the same starting noise and labels for every trial that shares the evaluation."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_pixels, to_unit
from trainables.data.split import shares, spread_evenly
from trainables.diffusion.lift import lift_of
from trainables.diffusion.sampler import passes, sample
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.replayed import Replayed

_BATCHES = 8
"""At least so many of an evaluation, where they have a few images each: that is how many workers share it."""
_FEWEST_IMAGES = 32


class Interrupted(Exception):
    """Asked to stop between two batches."""


def generate(network: nn.Module, trial: TrialConfig, evaluation: EvaluationConfig, begun: Tensor) -> Tensor:
    """uint8 images [n, C, H, W] of these starts [n, ...], see `starts`, on the network's device and in the trial's precision.

    NotFinite: a sample is not finite.
    """
    with drawing(network, trial, evaluation, begun) as batch:
        return torch.cat([batch(place) for place in batches(trial, begun, device=device_of(network))])


def batches(trial: TrialConfig, begun: Tensor, *, device: torch.device) -> list[slice]:
    """The batches that images of these starts are drawn in. They depend on nothing but the trial, the device's kind and the
    number of images, since an image's last bits depend on its batch."""
    count = len(begun)
    size = min(images_at_once(trial, device=device.type), max(_FEWEST_IMAGES, -(-count // _BATCHES)))
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def passes_of(trial: TrialConfig, evaluation: EvaluationConfig) -> int:
    """How often the network sees each image while it is drawn; an autoencoder makes it again at once."""
    return 1 if trial.method.kind == "autoencoder" else passes(evaluation, trial.diffusion.path)


def sampling_noise(trial: TrialConfig, evaluation: EvaluationConfig, *, first: int, count: int) -> list[Tensor]:
    """The noise that samples first..first+count-1 start from, [count, C, H, W], and what they get at the start of each further
    stage of the path, of that stage's size; in the trial's noise_scale."""
    draws, shapes = PhiloxDraws(evaluation.seed), [view.shape for view in trial.stage_views[1:]]
    start = draws.normal(Purpose.SAMPLE_NOISE, first=first, count=count, shape=trial.shape)
    return [trial.diffusion.noise_scale * noise for noise in (start, *_at_borders(draws, shapes, first=first, count=count))]


def _at_borders(draws: PhiloxDraws, shapes: list[tuple[int, int, int]], *, first: int, count: int) -> list[Tensor]:
    """Independent standard normals of each shape."""
    if not shapes:
        return []
    sizes = [math.prod(shape) for shape in shapes]
    drawn = draws.normal(Purpose.BORDER_NOISE, first=first, count=count, shape=(sum(sizes),)).split(sizes, dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(drawn, shapes, strict=True)]


Draw = Callable[..., Tensor]
"""A batch's uint8 images: `draw(place, stepped)`, of which `stepped` hears how many steps there have been. NotFinite: a sample
is not finite."""


@contextmanager
def drawing(network: nn.Module, trial: TrialConfig, evaluation: EvaluationConfig, begun: Tensor) -> Iterator[Draw]:
    """Draws batches of images of these starts [n, ...]: each place of them has noise of its own, whoever draws it.

    Within it the network's weights stay as they are, and torch keeps no gradients.
    """
    device = device_of(network)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=trial.precision == "bf16")
    with torch.inference_mode(), autocast:
        replayed = Replayed(network, device) if trial.graphs and device.type == "cuda" else network
        yield partial(_batch, replayed, trial, evaluation, begun.to(device))


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(network.parameters()).device


def starts(trial: TrialConfig, images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
    """What samples of a trial start from beside noise: labels [n], or held-out images uint8 [n, C, H, W] for an autoencoder to
    make again."""
    if trial.method.kind == "autoencoder":
        return images.read(spread_evenly(images.heldout, evaluation.n))
    return sample_labels(images, evaluation)


def starts_of_class(trial: TrialConfig, images: ImageSet, label: int, *, count: int) -> Tensor:
    """The same of one class: its label [count], or its held-out images, again from the first on where there are fewer; those of
    all classes where it has none."""
    if trial.method.kind != "autoencoder":
        return torch.full((count,), label)
    own = images.heldout[images.labels(images.heldout).numpy() == label]
    return images.read(np.resize(own if len(own) else images.heldout, count))


def sample_labels(images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
    """Labels int64 [n] in the training split's proportions, in an order of chance: by largest remainders, or drawn one by one.

    Even labels would bias a distance to a set whose classes are uneven.
    """
    counts, draws = np.bincount(images.labels(images.train).numpy()), PhiloxDraws(evaluation.seed)
    if evaluation.labels == "drawn":
        u = draws.uniform(Purpose.SAMPLE_LABEL, first=0, count=evaluation.n)
        return torch.from_numpy(np.searchsorted(np.cumsum(counts) / counts.sum(), u.numpy(), side="right"))
    labels = np.repeat(np.arange(len(counts)), shares(counts, evaluation.n))
    return torch.from_numpy(labels[draws.permutation(Purpose.SAMPLE_LABEL, 0, evaluation.n)])


def _batch(
    network: nn.Module,
    trial: TrialConfig,
    evaluation: EvaluationConfig,
    begun: Tensor,
    place: slice,
    stepped: Callable[[int], None] = lambda _: None,
) -> Tensor:
    data, diffusion, own = trial.data, trial.diffusion, begun[place]
    if trial.method.kind == "autoencoder":
        label = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        again = network(to_unit(own), torch.zeros(len(own), device=own.device), label)
        stepped(evaluation.steps)
        return to_pixels(require_finite(again, what="generated pixels"))
    start, *borders = sampling_noise(trial, evaluation, first=place.start, count=len(own))
    samples = sample(
        network,
        start.to(own.device),
        own,
        diffusion=diffusion,
        evaluation=evaluation,
        num_classes=data.num_classes,
        stepped=stepped,
        borders=[noise.to(own.device) for noise in borders],
    )
    images = lift_of(trial).down(samples.float())
    return to_pixels(require_finite(images, what="generated pixels"))
