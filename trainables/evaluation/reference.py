"""The features of an image set's real images: computed once, and kept by the process and in a file."""

import io
import logging
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config.features import FeaturesConfig
from trainables.data import ImageSet
from trainables.evaluation.features.registry import Classifier, Extractor, extractor
from trainables.evaluation.metrics.frechet import FeatureSums, Moments, moments
from trainables.evaluation.metrics.kernel import mean_over_pairs
from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference, References
from trainables.process_caches import ProcessCache
from trainables.storage.folder import Folder
from trainables.storage.turns import FileTurn

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 256
MOST_KEPT = 100_000
"""Training images whose features are kept, spread evenly over a larger split, whose moments alone are of all."""
Read = Callable[[int, int], object]
"""Hears how many images have had their features computed, and of how many."""

_references: ProcessCache[tuple[str, str], References] = ProcessCache("references")
"""By the image set's fingerprint and the features' variant."""


def references(
    images: ImageSet,
    *,
    under: str,
    cache: str | None,
    features: FeaturesConfig = "efflite0",
    read: Read = lambda _done, _of: None,
) -> References:
    """Both splits' features under a registered extractor: kept by this process, else read from `cache`, else computed, of
    which `read` hears, and written there.

    `features`: where the extractor has a file, the configuration that names it.

    `cache` is a folder or URI; the file is `reference/{digest}-{variant}.npz` below it, and of several processes one makes it.
    A damaged file is made again.
    """
    network = extractor(under, features)
    variant = variant_of(images, network)
    name = f"reference/{images.fingerprint}-{variant}.npz"
    make = partial(_cached, images, network, name=name, cache=cache, read=read)
    return _references.get((images.fingerprint, variant), make=make)


def variant_of(images: ImageSet, network: Extractor) -> str:
    """Which features the images of a set get."""
    return network.variant(images.read(images.heldout[:1]).shape[-1])


def made_up(features: Tensor) -> References:
    """Splits of made-up features, float32 [m, d], to time metrics on; their self-term counts as computed."""
    split = Reference(features, {mean_over_pairs: 0.0})
    return References(train=split, heldout=split)


def compared_with(real: References, given: Moments) -> References:
    """The same, whose Frechet distances to the training split are to these moments instead."""
    train = replace(real.train, known={**real.train.known, moments: given})
    return References(train=train, heldout=real.heldout)


def _cached(images: ImageSet, network: Extractor, *, name: str, cache: str | None, read: Read) -> References:
    real = _computed(images, network, read) if cache is None else _kept(Folder(cache), name, images, network, read)
    if isinstance(network, Classifier):
        train, heldout = (replace(split, classify=network.logits) for split in (real.train, real.heldout))
        return References(train=train, heldout=heldout)
    return real


def _kept(folder: Folder, name: str, images: ImageSet, network: Extractor, read: Read) -> References:
    real = _read(folder, name, images, network)
    if real is not None:
        return real

    def waited(seconds: float) -> None:
        time.sleep(seconds)
        read(0, len(images))  # another process makes it

    turn = FileTurn(folder, name, wait=waited)
    real = turn.taken(lambda: _read(folder, name, images, network) if folder.has(name) else None)
    if real is not None:
        turn.over()
        return real

    def made(done: int, of: int) -> None:
        turn.beat()
        read(done, of)

    try:
        real = _computed(images, network, made)
        folder.put(name, _packed(real))
    finally:
        turn.over()
    return real


def _computed(images: ImageSet, network: Extractor, read: Read) -> References:
    train, of = len(images.train), len(images.train) + len(images.heldout)
    return References(
        train=(_large_split if train > MOST_KEPT else _split)(images, images.train, network, lambda done: read(done, of)),
        heldout=_split(images, images.heldout, network, lambda done: read(train + done, of)),
    )


def _split(images: ImageSet, indices: NDArray[np.int64], network: Extractor, read: Callable[[int], object]) -> Reference:
    """All features of some images."""
    chunks = [features for _, features in _in_chunks(images, indices, network, read)]
    return Reference(sound(torch.cat(chunks)))


def _large_split(images: ImageSet, indices: NDArray[np.int64], network: Extractor, read: Callable[[int], object]) -> Reference:
    """The moments of all images, streamed, and the features of as many as are kept."""
    sums, chunks, stays = FeatureSums(network.dimensions), [], _kept_places(len(indices))
    for start, features in _in_chunks(images, indices, network, read):
        sums.add(features)
        chunks.append(features[torch.from_numpy(np.isin(np.arange(start, start + len(features)), stays))])
    return Reference(sound(torch.cat(chunks)), {moments: sums.moments()})


def _in_chunks(
    images: ImageSet, indices: NDArray[np.int64], network: Extractor, read: Callable[[int], object]
) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(indices), _READ_AT_ONCE):
        read(start)
        yield start, network.features(images.read(indices[start : start + _READ_AT_ONCE]))


def _kept_places(count: int) -> NDArray[np.int64]:
    """The places of a training split whose features are kept."""
    kept = min(count, MOST_KEPT)
    return np.arange(kept) * count // kept


def _packed(real: References) -> bytes:
    buffer = io.BytesIO()
    members: dict[str, Any] = {}
    for name, split in (("train", real.train), ("heldout", real.heldout)):
        members |= {name: split.features.numpy(), f"{name}_self_term": split.once(mean_over_pairs)}
        if (of_all := split.known.get(moments)) is not None:
            members |= {f"{name}_mean": of_all.mean.numpy(), f"{name}_covariance": of_all.covariance.numpy()}
    np.savez(buffer, **members)
    return buffer.getvalue()


def _read(folder: Folder, name: str, images: ImageSet, network: Extractor) -> References | None:
    try:
        with np.load(io.BytesIO(folder.read(name)), allow_pickle=False) as file:
            stored = {member: torch.from_numpy(file[member]) for member in file.files}
        return References(
            train=_unpacked(stored, "train", shape=(len(_kept_places(len(images.train))), network.dimensions)),
            heldout=_unpacked(stored, "heldout", shape=(len(images.heldout), network.dimensions)),
        )
    except FileNotFoundError:
        return None
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        _log.warning("computing %s again: %s", folder.address(name), error)
        return None


def _unpacked(stored: Mapping[str, Tensor], split: str, *, shape: tuple[int, int]) -> Reference:
    features, self_term = stored[split], stored[f"{split}_self_term"]
    if features.dtype != torch.float32 or features.shape != shape or self_term.shape != ():
        raise ValueError(f"expected float32 {list(shape)}, got {features.dtype} {list(features.shape)}")
    known: dict[Callable[[Tensor], Any], Any] = {mean_over_pairs: float(self_term)}
    if f"{split}_mean" in stored:
        known[moments] = Moments(stored[f"{split}_mean"], stored[f"{split}_covariance"])
    return Reference(features, known)
