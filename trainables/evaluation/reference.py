"""The real images' side of every score: their features, made once per image set and kept."""

import io
import logging
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data import ImageSet
from trainables.evaluation.features.efficientnet import DIMENSIONS, extractor_name, features
from trainables.evaluation.metrics.frechet import Moments, moments
from trainables.evaluation.metrics.kernel import KernelReference
from trainables.storage.folder import Folder

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Reference:
    """Features of one split, float32 [m, 1280], and what is derived from them."""

    kernel: KernelReference

    @property
    def features(self) -> Tensor:
        return self.kernel.features

    @cached_property
    def moments(self) -> Moments:
        return moments(self.features)


@dataclass(frozen=True, eq=False)
class References:
    """Both splits of an image set under one extractor."""

    train: Reference
    heldout: Reference


_known: dict[tuple[str, str], References] = {}


def references(images: ImageSet, *, cache: str | None) -> References:
    """Both splits' features: remembered by this process, else read from `cache`, else computed and written there.

    `cache` is a folder or URI; the file is `reference/{digest}-{extractor}.npz` below it. A damaged file is made again.
    """
    extractor = extractor_name(images.read(images.heldout[:1]).shape[-1])
    key = (images.fingerprint, extractor)
    if key not in _known:
        _known[key] = _cached(images, name=f"reference/{images.fingerprint}-{extractor}.npz", cache=cache)
    return _known[key]


def forget() -> None:
    """Drop what this process remembers, and the memory it holds."""
    _known.clear()


def _cached(images: ImageSet, *, name: str, cache: str | None) -> References:
    if cache is None:
        return _computed(images)
    folder = Folder(cache)
    found = _read(folder, name, images)
    if found is None:
        found = _computed(images)
        folder.put(name, _packed(found))
    return found


def _computed(images: ImageSet) -> References:
    return References(train=_split(images, images.train), heldout=_split(images, images.heldout))


def _split(images: ImageSet, indices: NDArray[np.int64]) -> Reference:
    chunks = [indices[start : start + _READ_AT_ONCE] for start in range(0, len(indices), _READ_AT_ONCE)]
    return Reference(KernelReference(torch.cat([features(images.read(chunk)) for chunk in chunks])))


def _packed(found: References) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        train=found.train.features.numpy(),
        train_self_term=found.train.kernel.self_term,
        heldout=found.heldout.features.numpy(),
        heldout_self_term=found.heldout.kernel.self_term,
    )
    return buffer.getvalue()


def _read(folder: Folder, name: str, images: ImageSet) -> References | None:
    try:
        with np.load(io.BytesIO(folder.read(name)), allow_pickle=False) as file:
            stored = {member: torch.from_numpy(file[member]) for member in file.files}
        return References(
            train=_unpacked(stored["train"], stored["train_self_term"], count=len(images.train)),
            heldout=_unpacked(stored["heldout"], stored["heldout_self_term"], count=len(images.heldout)),
        )
    except FileNotFoundError:
        return None
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        _log.warning("computing %s again: %s", folder.address(name), error)
        return None


def _unpacked(stored: Tensor, self_term: Tensor, *, count: int) -> Reference:
    if stored.dtype != torch.float32 or stored.shape != (count, DIMENSIONS) or self_term.shape != ():
        raise ValueError(f"expected float32 [{count}, {DIMENSIONS}], got {stored.dtype} {list(stored.shape)}")
    return Reference(KernelReference(stored, self_term=float(self_term)))
