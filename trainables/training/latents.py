"""The training split in an autoencoder's codes, mirror images too: encoded once for a storage, mapped from a node's disk."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config.space import LatentSpace
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.errors import DataError
from trainables.data.pixels import to_unit
from trainables.data.prepared.layout import SHARD_BYTES, write_array
from trainables.data.prepared.manifest import Shard
from trainables.data.prepared.node_cache import node_cache
from trainables.data.prepared.prepared_set import checked_content, map_shard
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.latent import CodeStatistics, Latent, at_once, autoencoder_of, code_of, encoding_trial, told
from trainables.networks.registry import build
from trainables.process_caches import ProcessCache
from trainables.storage.address import local_path
from trainables.storage.folder import Folder
from trainables.storage.turns import FileTurn
from trainables.training.encoders import (
    MANIFEST,
    CodesManifest,
    encoder_weights,
    latent_of,
    latents_folder,
    packed,
    read_manifest,
    write_autoencoder,
)

Encoded = Callable[[int, int], object]
"""Hears how many images have been encoded, and of how many."""


@dataclass(frozen=True, eq=False)
class Latents:
    """What a latent trial trains on."""

    space: Latent
    shards: tuple[NDArray[np.float32], ...]
    held: object = None
    """Keeps the node's copy of them."""

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """What was told of training images by their place in the split, float32 [B, 2, Z', h, w]."""
        starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        numbers = np.searchsorted(starts, places, side="right") - 1
        rows = [self.shards[number][place - starts[number]] for number, place in zip(numbers, places, strict=True)]
        return torch.from_numpy(np.stack(rows))


_latents: ProcessCache[tuple[str, str, str], Latents] = ProcessCache("latents", most=1)
"""By their folder, the space's own settings, and the device."""


def latents_of(
    trial: TrialConfig, images: ImageSet, storage: str, *, encoded: Encoded = lambda _done, _of: None
) -> Latents | None:
    """The codes that a trial trains on, encoded now where nobody has before; None of a trial that sees pixels.

    DataError: the autoencoder is not there, or another. OSError: storage failed.
    """
    if trial.space.kind == "pixels":
        return None
    folder = latents_folder(trial, storage)
    key = folder.uri, trial.space.model_dump_json(), trial.device
    return _latents.get(key, make=lambda: _made(trial, images, storage, folder, encoded))


def _made(trial: TrialConfig, images: ImageSet, storage: str, folder: Folder, encoded: Encoded) -> Latents:
    manifest = read_manifest(folder) or _encoded(trial, images, storage, folder, encoded)
    try:
        space = latent_of(trial, checked_content(folder, manifest.autoencoder), device=trial.device)
        path = local_path(folder.uri)
        held = None if path is not None else node_cache().hold(manifest)
        if held is not None:
            path = held.folder
            for shard in manifest.shards:
                held.fetch(shard, partial(checked_content, folder, shard), wait=True)
        assert path is not None
        return Latents(space, tuple(_mapped(path, shard) for shard in manifest.shards), held)
    except ValueError as error:
        raise DataError(str(error)) from error


def _mapped(folder: Path, shard: Shard) -> NDArray[np.float32]:
    """A shard's codes. ValueError: it is missing, or of another size."""
    codes: NDArray[Any] = map_shard(folder / shard.name, shard)
    return codes


def _encoded(trial: TrialConfig, images: ImageSet, storage: str, folder: Folder, encoded: Encoded) -> CodesManifest:
    """Of several processes one encodes, and the others wait for it."""

    def waited(seconds: float) -> None:
        time.sleep(seconds)
        encoded(0, len(images.train))  # another process encodes

    turn = FileTurn(folder, MANIFEST, wait=waited)
    manifest = turn.taken(lambda: read_manifest(folder))
    if manifest is not None:
        turn.over()
        return manifest

    def told_of(done: int, of: int) -> None:
        turn.beat()
        encoded(done, of)

    try:
        return _encode(trial, images, storage, folder, told_of)
    finally:
        turn.over()


def _encode(trial: TrialConfig, images: ImageSet, storage: str, folder: Folder, encoded: Encoded) -> CodesManifest:
    weights = encoder_weights(trial, storage)
    try:
        autoencoder = autoencoder_of(trial, weights, device=trial.device)
    except ValueError as error:
        raise DataError(str(error)) from error
    sums, shards = _Sums(), list[Shard]()
    for number, codes in enumerate(_in_shards(autoencoder, images, trial.device, encoded)):
        sums.add(code_of(autoencoder, torch.from_numpy(codes).flatten(0, 1)))
        file = write_array(folder, f"codes-{number:05d}", codes)
        shards.append(Shard(**file.model_dump(), count=len(codes)))
    manifest = CodesManifest(
        digest=folder.uri.rpartition("/")[2],
        shards=tuple(shards),
        autoencoder=write_autoencoder(folder, packed(weights, sums.statistics())),
    )
    folder.create(MANIFEST, manifest.model_dump_json(indent=1).encode())
    standing = read_manifest(folder)  # which may be another process's, whose codes differ in their last bits
    assert standing is not None, "a manifest that was created is there"
    return standing


def _in_shards(
    autoencoder: Autoencoder, images: ImageSet, device: str, encoded: Encoded, *, most_bytes: int = SHARD_BYTES
) -> Iterator[NDArray[np.float32]]:
    """The codes of the training split, shard by shard."""
    parts: list[NDArray[np.float32]] = []
    count = at_once(autoencoder)
    for start in range(0, len(images.train), count):
        encoded(start, len(images.train))
        pixels = images.read(images.train[start : start + count]).to(device)
        both = [told(autoencoder, to_unit(seen.contiguous())) for seen in (pixels, pixels.flip(-1))]
        parts.append(torch.stack(both, dim=1).cpu().numpy())
        if sum(part.nbytes for part in parts) >= most_bytes:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


class _Sums:
    """Sums over codes, in double precision."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, codes: Tensor) -> None:
        """Codes [B, Z, h, w]."""
        wide = codes.double()
        self._count += len(codes)
        self._sum, self._squares = self._sum + wide.sum(0), self._squares + wide.square().sum((0, 2, 3))

    def statistics(self) -> CodeStatistics:
        """Of all of them."""
        mean_code, squares = self._sum / self._count, self._squares / (self._count * self._sum[0].numel())
        mean = mean_code.mean((1, 2))
        return CodeStatistics(mean.float(), (squares - mean.square()).clamp_min(1e-12).sqrt().float(), mean_code.float())


def stand_in(trial: TrialConfig, images: ImageSet) -> Latents:
    """Codes of chance for every training image, of an autoencoder that has learnt nothing: to time a trial on."""

    assert isinstance(trial.space, LatentSpace)
    autoencoder = build(encoding_trial(trial)).requires_grad_(False).to(trial.device)
    assert isinstance(autoencoder, Autoencoder)
    channels, side = trial.canvas
    zero, one = torch.zeros(channels), torch.ones(channels)
    space = Latent(trial.space, autoencoder, CodeStatistics(zero, one, torch.zeros(channels, side, side)))
    told_channels = channels * (2 if autoencoder.trunk.code.kind == "kl" else 1)
    codes = np.random.default_rng(0).standard_normal((1, 2, told_channels, side, side), dtype=np.float32)
    return Latents(space, (np.broadcast_to(codes, (len(images.train), *codes.shape[1:])),))
