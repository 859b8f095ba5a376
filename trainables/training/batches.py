"""The training batches of a trial: which images, mirrored or not, with which noise, times and labels.

Every draw is a function of (seed, purpose, global image index), so neither the number of workers nor the micro-batch changes
what an update sees. On a GPU the draws are made there, and a small image set lives there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config.space import LatentSpace
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.diffusion.lift import lift_of
from trainables.diffusion.t_sampling import times
from trainables.draws.philox import Draws, PhiloxDraws, Purpose
from trainables.process_caches import ProcessCache
from trainables.training.ahead import Ahead, BatchPiece
from trainables.training.routes import routes_of
from trainables.training.truths import truths_of

if TYPE_CHECKING:
    from trainables.training.latents import Latents

RESIDENT_SHARE = 0.25
"""An image set lives on a GPU where it takes at most this share of its memory."""

_UPLOADED_AT_ONCE = 4096


@dataclass(frozen=True)
class Batch:
    """Images x [B, C, H, W] in [-1, 1], noise e of the same shape, times t [B], labels y [B] with some dropped.

    `route` [B, N] says which tokens skip blocks, where some do. Of M masked tokens e is noise [B, R, M, P], each one's own, and
    `route` [B, 1 + R, N] says mask and times (`trainables.training.masks`); where an encoder is pre-trained it says noise
    levels and views, [B, 10] (`trainables.training.views`). `truths`: what terms of the loss that read tokens should find, by
    their kind.
    """

    x: Tensor
    e: Tensor
    t: Tensor
    y: Tensor
    route: Tensor | None = None
    truths: dict[str, Tensor] = field(default_factory=dict)


class Batches:
    """The batches of one trial on one device.

    ValueError: a label that the trial's network does not know.
    """

    def __init__(self, trial: TrialConfig, images: ImageSet, *, device: torch.device, latents: "Latents | None" = None) -> None:
        """`latents`: the codes that a latent trial trains on."""
        self._trial = trial
        self._device = device
        self._draws = draws_on(device, seed=trial.seed)
        self._latents = latents
        self._source = _source(images, latents, device)
        self._ahead = Ahead(self._fetched)
        self._count, self._routes = len(images.train), routes_of(trial)
        self._epochs: dict[int, NDArray[np.int64]] = {}
        self._truths = truths_of(trial)
        self._lift = lift_of(trial)
        _check_labels(images, num_classes=trial.data.num_classes)

    def take(self, first: int, count: int) -> Batch:
        """Images first..first+count-1 of the trial's endless sequence."""
        return self.made(*(part.to(self._device, non_blocking=True) for part in self.fetch(first, count)))

    def fetch(self, first: int, count: int, *, then: Sequence[BatchPiece] = ()) -> tuple[Tensor, ...]:
        """What the host has to say of these images, for `made`, in memory that a GPU copies from without the host's waiting.

        The first is int64 [1 + count]: the number of the first image, then a place or a label of each. What will be asked for
        `then` is gathered on a thread meanwhile. DataError, OSError: the images cannot be read.
        """
        return self._ahead.take(BatchPiece(first, count), then=then)

    def _fetched(self, first: int, count: int) -> tuple[Tensor, ...]:
        of_each, *rest = self._source.fetch(self._order(first, count))
        shared = self._routes.of_update(self._trial, first=first)
        numbers = torch.cat((torch.tensor([first]), of_each))
        parts = (numbers, *rest) if shared is None else (numbers, *rest, shared)
        return parts if self._device.type == "cpu" else tuple(part.pin_memory() for part in parts)

    def made(self, numbers: Tensor, *rest: Tensor) -> Batch:
        """The batch of what was fetched, now on the device. Kernels that are replayed on other numbers make their batch."""
        data, diffusion, draws = self._trial.data, self._trial.diffusion, self._draws
        first, count = numbers[0], len(numbers) - 1
        read, y = self._source.read(numbers[1:], *rest[: self._source.parts])
        shared = rest[-1] if len(rest) > self._source.parts else None
        mirrored = draws.uniform(Purpose.FLIP, first=first, count=count) < 0.5 if data.flip else None
        pixels = _turned(read, mirrored) if self._latents is None else read
        truths = {kind: truth(pixels, y) for kind, truth in self._truths.items()}
        if data.num_classes > 1:
            dropped = draws.uniform(Purpose.LABEL_DROP, first=first, count=count) < self._trial.label_drop
            y = y.masked_fill(dropped, data.num_classes)
        t = times(draws.uniform(Purpose.TIME, first=first, count=count), diffusion.t_sampling)
        noise = draws.normal(Purpose.NOISE, first=first, count=count, shape=self._trial.noise_shape)
        route, noise = self._routes.drawn(draws, self._trial, noise, first=first, count=count, shared=shared)
        x = self._lift.up(to_unit(pixels)) if self._latents is None else self._codes(self._latents, read, mirrored, first)
        return Batch(x=x, e=self._trial.noise_scale * noise, t=t, y=y, route=route, truths=truths)

    def _codes(self, latents: "Latents", told: Tensor, mirrored: Tensor | None, first: Tensor) -> Tensor:
        """What the network sees of images [B, 2, Z', h, w], each with its mirror image."""
        chosen = told[:, 0] if mirrored is None else torch.where(mirrored[:, None, None, None], told[:, 1], told[:, 0])
        draw, space = partial(self._draws.normal, Purpose.POSTERIOR, first=first, count=len(told)), self._trial.space
        drawn = isinstance(space, LatentSpace) and space.sample == "draw"
        return latents.space.seen(chosen, draw(shape=self._trial.canvas_shape) if drawn else None)

    def dropout_seed(self, first: int) -> int:
        """The seed of dropout in a micro-batch that begins with this image."""
        return int(PhiloxDraws(self._trial.seed).uniform(Purpose.DROPOUT, first=first, count=1) * 2**53)

    def _order(self, first: int, count: int) -> NDArray[np.int64]:
        """Positions in the training split, int64 [count]: a fresh permutation each epoch."""
        end, n = first + count, self._count
        self._epochs = {epoch: self._epoch(epoch) for epoch in range(first // n, (end - 1) // n + 1)}
        return np.concatenate([order[max(0, first - epoch * n) : end - epoch * n] for epoch, order in self._epochs.items()])

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        known = self._epochs.get(epoch)
        return self._draws.permutation(Purpose.ORDER, epoch, self._count) if known is None else known


def draws_on(device: torch.device, *, seed: int) -> Draws:
    """The draws of a seed, made on a device."""
    if device.type == "cpu":
        return PhiloxDraws(seed)
    # Here and not at the top: it needs Triton, which a CPU's torch comes without.
    from trainables.draws.device import DeviceDraws

    return DeviceDraws(seed, device)


def _source(images: ImageSet, latents: "Latents | None", device: torch.device) -> "_Resident | _Hosted | _Encoded":
    if latents is not None:
        return _Encoded(images, latents)
    return _Resident(images, device) if resident_bytes(images, device) else _Hosted(images)


def _turned(pixels: Tensor, mirrored: Tensor | None) -> Tensor:
    """Images [B, C, H, W], some of them left to right."""
    return pixels if mirrored is None else torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)


class _Encoded:
    """Codes in the host's memory, mapped from its disk."""

    parts = 1
    """Tensors that it fetches beside places or labels."""

    def __init__(self, images: ImageSet, latents: "Latents") -> None:
        self._images, self._latents = images, latents

    def fetch(self, order: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return self._images.labels(self._images.train[order]), self._latents.read(order)

    def read(self, labels: Tensor, *codes: Tensor) -> tuple[Tensor, Tensor]:
        return codes[0], labels


class _Hosted:
    """Images in the host's memory; a batch is copied to the device without waiting for it."""

    parts = 1

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def fetch(self, order: NDArray[np.int64]) -> tuple[Tensor, ...]:
        indices = self._images.train[order]
        return self._images.labels(indices), self._images.read(indices)

    def read(self, labels: Tensor, *pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels[0], labels


class _Resident:
    """The whole training split on the device."""

    parts = 0

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._pixels, self._labels = _uploaded(images, device)

    def fetch(self, order: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return (torch.from_numpy(order),)

    def read(self, places: Tensor) -> tuple[Tensor, Tensor]:
        return self._pixels[places], self._labels[places]


_training_splits: ProcessCache[tuple[str, torch.device], tuple[Tensor, Tensor]] = ProcessCache("training splits", most=1)
"""Images and labels on a device, by the set's fingerprint."""


def _uploaded(images: ImageSet, device: torch.device) -> tuple[Tensor, Tensor]:
    def upload() -> tuple[Tensor, Tensor]:
        pixels = torch.empty((len(images.train), *images.read(images.train[:1]).shape[1:]), dtype=torch.uint8, device=device)
        for start in range(0, len(images.train), _UPLOADED_AT_ONCE):
            chosen = slice(start, start + _UPLOADED_AT_ONCE)
            pixels[chosen] = images.read(images.train[chosen]).to(device)
        return pixels, images.labels(images.train).to(device)

    return _training_splits.get((images.fingerprint, device), make=upload)


def resident_bytes(images: ImageSet, device: torch.device) -> int:
    """What a training split takes of a GPU; 0 where it stays with the host."""
    if device.type == "cpu":
        return 0
    size: int = len(images.train) * images.read(images.train[:1]).nbytes
    return size if size <= RESIDENT_SHARE * torch.cuda.get_device_properties(device).total_memory else 0


def _check_labels(images: ImageSet, *, num_classes: int) -> None:
    labels = images.labels(images.train)
    low, high = int(labels.min()), int(labels.max())
    if not 0 <= low <= high < num_classes:
        raise ValueError(f"labels must be in 0..{num_classes - 1}, got {low}..{high}; the trial has num_classes={num_classes}")
