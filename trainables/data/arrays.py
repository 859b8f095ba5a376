"""An image set as arrays: the rules that it must keep, whatever file it was read from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.data.array_rules import check_images, check_label_array
from trainables.data.description import DataDescription, refuse_other_holdout
from trainables.data.holdout import Holdout, NamedSplit, count_of
from trainables.data.pixel_counts import PixelCounts, class_warnings
from trainables.data.split import heldout_indices

Members = Mapping[str, NDArray[np.generic]]
"""`images` [N, S, S, 3 or 1] uint8; optional `labels` [N], `heldout` [K], `class_names` [C]."""

_DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Arrays:
    """An image set as it lies in memory, every rule checked."""

    images: NDArray[np.uint8]
    """[N, S, S, C]."""
    labels: NDArray[np.int64]
    """[N], in 0..len(class_names) - 1; all 0 for a set without labels."""
    class_names: tuple[str, ...]
    heldout: NDArray[np.int64]
    """[K] indices, rising."""

    @property
    def digest(self) -> str:
        """Content hash of the images, labels and held-out list; equal for equal content in any file."""
        content = hashlib.sha256(repr(self.images.shape).encode())
        for array in (self.images, self.labels.astype("<i8"), self.heldout.astype("<i8")):
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()[:_DIGEST_DIGITS]

    def description(self, uri: str) -> DataDescription:
        """The facts about this set, under the address it was read from."""
        return DataDescription(
            uri=uri,
            digest=self.digest,
            image_size=self.images.shape[1],
            channels=self.images.shape[3],
            num_classes=len(self.class_names),
            class_names=self.class_names,
            train_count=len(self.images) - len(self.heldout),
            heldout_count=len(self.heldout),
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> list[str]:
        counts, held_out = (
            np.bincount(part, minlength=len(self.class_names)).tolist() for part in (self.labels, self.labels[self.heldout])
        )
        left = [count - taken for count, taken in zip(counts, held_out, strict=True)]
        return [*PixelCounts.of(self.images).warnings(), *class_warnings(self.class_names, counts=counts, train_counts=left)]


def checked_arrays(members: Members, uri: str, *, holdout: Holdout | None = None) -> Arrays:
    """The image set that these arrays are; `uri` names it in messages.

    Without a `heldout` list among them, `holdout` images are split off. ValueError: rule, value and remedy.
    """
    images = _checked_images(members, uri)
    labels, class_names = _checked_labels(members, len(images), uri)
    if "heldout" in members:
        heldout = _checked_heldout(members["heldout"], len(images), uri)
        refuse_other_holdout(uri, listed=len(heldout), holdout=holdout)
    else:
        heldout = _split_off(images, labels, holdout=holdout, uri=uri)
    _refuse_whole_classes(labels, heldout, class_names, uri)
    return Arrays(images=images, labels=labels, class_names=class_names, heldout=heldout)


def _checked_images(members: Members, uri: str) -> NDArray[np.uint8]:
    if "images" not in members:
        rule = "an image file must hold an array `images`"
        raise ValueError(f"{rule}, got {', '.join(members) or 'none of the known arrays'} in {uri}; add it")
    check_images(members["images"], uri)
    return np.ascontiguousarray(members["images"], dtype=np.uint8)


def _checked_labels(members: Members, count: int, uri: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if "labels" not in members:
        return np.zeros(count, dtype=np.int64), ("all",)
    labels = members["labels"]
    check_label_array(labels, count, uri)
    numbers = labels.astype(np.int64)
    if "class_names" in members:
        class_names = tuple(str(name) for name in members["class_names"].ravel())
    else:
        class_names = tuple(f"class {label}" for label in range(len(np.unique(numbers))))
    if not 0 <= numbers.min() <= numbers.max() < len(class_names):
        rule = f"`labels` must lie in 0..{len(class_names) - 1}"
        remedy = "number the classes from 0 without gaps, or name every class in `class_names`"
        raise ValueError(f"{rule}, got {numbers.min()}..{numbers.max()} in {uri}; {remedy}")
    return numbers, class_names


def _checked_heldout(listed: NDArray[np.generic], count: int, uri: str) -> NDArray[np.int64]:
    rule = f"`heldout` must list different image indices in 0..{count - 1}, at least 2, and leave at least 2 for training"
    if listed.ndim != 1 or not np.issubdtype(listed.dtype, np.integer):
        raise ValueError(f"{rule}, got {listed.dtype} {list(listed.shape)} in {uri}; write integers of shape [K]")
    heldout = np.unique(listed.astype(np.int64))
    if len(heldout) != len(listed):
        raise ValueError(f"{rule}, got {len(listed) - len(heldout)} repeated in {uri}; list each once")
    if not 2 <= len(heldout) <= count - 2:
        raise ValueError(f"{rule}, got {len(heldout)} of {count} in {uri}; list another number")
    if heldout[0] < 0 or heldout[-1] >= count:
        raise ValueError(f"{rule}, got {heldout[0]}..{heldout[-1]} in {uri}; count from 0")
    return heldout


def _split_off(images: NDArray[np.uint8], labels: NDArray[np.int64], *, holdout: Holdout | None, uri: str) -> NDArray[np.int64]:
    if holdout is None:
        rule = "a file without a `heldout` list needs `holdout`, the number of images to split off"
        remedy = f"try {min(384, max(2, len(images) // 5))} or store a list"
        raise ValueError(f"{rule}, got none for {uri} with {len(images)} images; {remedy}")
    if isinstance(holdout, NamedSplit):
        rule = "`holdout: {split: NAME}` needs a source that keeps splits apart, as folders and parquet do"
        raise ValueError(f"{rule}, got an .npz file, {uri}; give a number, a share, or a `heldout` list in the file")
    return heldout_indices(images, labels, count=count_of(holdout, len(images)))


def _refuse_whole_classes(
    labels: NDArray[np.int64], heldout: NDArray[np.int64], class_names: tuple[str, ...], uri: str
) -> None:
    """A class that is never trained on would be scored by a label that training has not touched."""
    counts, taken = (np.bincount(part, minlength=len(class_names)) for part in (labels, labels[heldout]))
    whole = np.flatnonzero((counts > 0) & (taken == counts))
    if len(whole):
        first = int(whole[0])
        more = f" and {len(whole) - 1} more classes" if len(whole) > 1 else ""
        rule = "`heldout` must leave training images of every class that it holds"
        got = f"none of {class_names[first]!r}, whose {counts[first]} images are all held out{more}"
        raise ValueError(f"{rule}, got {got} in {uri}; list fewer of them, or take the class out")
