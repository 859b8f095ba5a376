"""The features of an image set's real images: computed once, and kept by the process and in a file."""

import io
import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config.features import FeaturesConfig
from trainables.data import ImageSet
from trainables.evaluation.features.registry import Classifier, Extractor, extractor
from trainables.evaluation.metrics.kernel import mean_over_pairs
from trainables.evaluation.metrics.sound import sound
from trainables.evaluation.real import Reference, References
from trainables.process_caches import ProcessCache
from trainables.storage.folder import Folder

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 256
Read = Callable[[int, int], None]
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

    `cache` is a folder or URI; the file is `reference/{digest}-{variant}.npz` below it. A damaged file is made again.
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


def _cached(images: ImageSet, network: Extractor, *, name: str, cache: str | None, read: Read) -> References:
    folder = Folder(cache) if cache is not None else None
    real = _read(folder, name, images, network) if folder is not None else None
    if real is None:
        real = _computed(images, network, read)
        if folder is not None:
            folder.put(name, _packed(real))
    if isinstance(network, Classifier):
        train, heldout = (replace(split, classify=network.logits) for split in (real.train, real.heldout))
        return References(train=train, heldout=heldout)
    return real


def _computed(images: ImageSet, network: Extractor, read: Read) -> References:
    train, of = len(images.train), len(images.train) + len(images.heldout)
    return References(
        train=_split(images, images.train, network, lambda done: read(done, of)),
        heldout=_split(images, images.heldout, network, lambda done: read(train + done, of)),
    )


def _split(images: ImageSet, indices: NDArray[np.int64], network: Extractor, read: Callable[[int], None]) -> Reference:
    chunks = []
    for start in range(0, len(indices), _READ_AT_ONCE):
        read(start)
        chunks.append(network.features(images.read(indices[start : start + _READ_AT_ONCE])))
    return Reference(sound(torch.cat(chunks)))


def _packed(real: References) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        train=real.train.features.numpy(),
        train_self_term=real.train.once(mean_over_pairs),
        heldout=real.heldout.features.numpy(),
        heldout_self_term=real.heldout.once(mean_over_pairs),
    )
    return buffer.getvalue()


def _read(folder: Folder, name: str, images: ImageSet, network: Extractor) -> References | None:
    try:
        with np.load(io.BytesIO(folder.read(name)), allow_pickle=False) as file:
            stored = {member: torch.from_numpy(file[member]) for member in file.files}
        return References(
            train=_unpacked(stored, "train", shape=(len(images.train), network.dimensions)),
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
    return Reference(features, {mean_over_pairs: float(self_term)})
