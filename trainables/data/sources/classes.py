"""From a source's labels to class numbers: equal for equal labels, whatever format they came in."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trainables.config.spelling import did_you_mean
from trainables.data.sources.source import Label, SourceImage, SourceIndex


@dataclass(frozen=True)
class Labelled:
    """The images to prepare, in the source's order, with their classes."""

    images: Sequence[SourceImage]
    labels: NDArray[np.int64]
    """[N], in 0..len(class_names) - 1."""
    class_names: tuple[str, ...]


def labelled(index: SourceIndex, *, classes: tuple[str, ...] | None, limit: int | None, where: str) -> Labelled:
    """Number the classes, take those that are asked for, and at most `limit` images, spread evenly.

    Texts are numbered in their order, texts that all are whole numbers by their value; numbers keep the names that the source
    has for them. ValueError: some images have no label, or a class is not there.
    """
    images, numbers, names = index.images, *_numbered(index, where=where)
    if classes is not None:
        chosen = _chosen(classes, names, where=where)
        kept = np.flatnonzero(np.isin(numbers, chosen)).tolist()
        images, numbers = [images[i] for i in kept], np.searchsorted(chosen, numbers[kept])
        names = tuple(names[number] for number in chosen)
    if limit is not None and limit < len(images):
        spread = [place * len(images) // limit for place in range(limit)]
        images, numbers = [images[i] for i in spread], numbers[spread]
    return Labelled(images, numbers.astype(np.int64), names)


def _numbered(index: SourceIndex, *, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    labels = [image.label for image in index.images]
    missing = [image.key for image in index.images if image.label is None]
    if len(missing) == len(labels):
        return np.zeros(len(labels), dtype=np.int64), ("all",)
    if missing:
        rule = "either all images must have a label, or none"
        got = f"{len(missing)} of {len(labels)} without, first {missing[0]}"
        raise ValueError(f"{rule}, got {got} in {where}; label them, or say labels: none")
    known = [label for label in labels if label is not None]
    if index.class_names is not None:
        return _named(known, index.class_names, where=where)
    return _found(known)


def _named(labels: Sequence[Label], names: tuple[str, ...], *, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    numbers = np.array([label if isinstance(label, int) else names.index(label) for label in labels], dtype=np.int64)
    if not 0 <= numbers.min() <= numbers.max() < len(names):
        rule = f"labels must lie in 0..{len(names) - 1}, since the source names {len(names)} classes"
        raise ValueError(f"{rule}, got {numbers.min()}..{numbers.max()} in {where}; write the labels or names again")
    return numbers, names


def _found(labels: Sequence[Label]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if not all(isinstance(label, int) or (label.isascii() and label.isdigit()) for label in labels):
        texts = [str(label) for label in labels]
        names = sorted(set(texts))
        number = {name: place for place, name in enumerate(names)}
        return np.array([number[text] for text in texts], dtype=np.int64), tuple(names)
    values, numbers = np.unique(np.array([int(label) for label in labels]), return_inverse=True)
    written = {int(label): label for label in labels if isinstance(label, str)}
    return numbers, tuple(written.get(value, f"class {value}") for value in values.tolist())


def _chosen(classes: Sequence[str], names: Sequence[str], *, where: str) -> NDArray[np.int64]:
    """The numbers of the classes that are asked for, rising."""
    for name in classes:
        if name not in names:
            remedy = did_you_mean(name, names, otherwise=f"there are {', '.join(names[:8])}")
            raise ValueError(f"`classes` must be classes of the source, got {name!r} of {where}; {remedy}")
    chosen = np.array(sorted(names.index(name) for name in classes), dtype=np.int64)
    twice = [names[a] for a, b in pairwise(chosen) if a == b]
    if twice:
        raise ValueError(f"`classes` must name each class once, got {twice[0]!r} twice; leave one out")
    return chosen
