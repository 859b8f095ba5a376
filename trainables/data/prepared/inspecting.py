"""What a source or a prepared set holds, counted, with warnings of what costs people weeks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.config.fields import counted
from trainables.data.near_duplicates import bounded_groups, near_pairs
from trainables.data.pixel_counts import PixelCounts, class_warnings
from trainables.data.prepared.manifest import BadFile
from trainables.data.prepared.prepared_set import PreparedSet
from trainables.data.prepared.preparing import Preparation
from trainables.data.prepared.settings import PrepareSettings
from trainables.data.sources.decoding import decoded, form_of
from trainables.data.sources.source import BadImage
from trainables.data.thumbnails import Thumbnails

_AT_ONCE = 256
SEEN_SIZE = 64
"""Images of a source are looked at in this size."""
SHEET_IMAGES = 64
SHEET_OF_CLASS = 8


class _Seen(NamedTuple):
    """Some images [n, S, S, C] with their labels, and their forms as `(size, mode)`."""

    images: NDArray[np.uint8]
    labels: list[int]
    forms: list[tuple[str, str]]


@dataclass
class Inspection:
    """Counts and findings."""

    uri: str
    class_names: tuple[str, ...]
    count: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    class_counts: Counter[int] = field(default_factory=Counter)
    bad_count: int = 0
    bad: tuple[BadFile, ...] = ()
    near_duplicates: int = 0
    """Images beyond the first of each group of near-duplicates."""
    pixels: PixelCounts = field(default_factory=PixelCounts)
    digest: str | None = None
    """None for what is not prepared."""
    train_counts: tuple[int, ...] | None = None
    """Training images of each class; None for what is not split."""
    heldout_count: int | None = None
    sheet: NDArray[np.uint8] | None = None
    """The first images [k, S, S, C]."""
    class_sheet: NDArray[np.uint8] | None = None
    """The first images of each class, a class after the other; blank where a class has fewer."""

    def classes(self) -> list[tuple[str, int]]:
        """Every class with its images."""
        return [(name, self.class_counts[number]) for number, name in enumerate(self.class_names)]

    def warnings(self, *, n: int | None = None) -> list[str]:
        """A line for each thing that is probably a mistake; `n`: the images that evaluation will want."""
        counts = [count for _, count in self.classes()]
        left = counts if self.train_counts is None else self.train_counts
        found = [
            (len(self.class_names) == 1, "one class: the model will be unconditional"),
            (bool(self.bad_count), f"{counted(self.bad_count, 'file')} cannot be decoded"),
            (self.near_duplicates > self.count // 2, f"{self.near_duplicates:,} of {self.count:,} images are near-duplicates"),
        ]
        most = self.heldout_count if self.heldout_count is not None else self.count // 2
        if n is not None and most < n:
            found.append((True, f"evaluation.n={n} needs as many held-out images, got {most:,}"))
        of_classes = class_warnings(self.class_names, counts=counts, train_counts=left)
        return [*self.pixels.warnings(), *of_classes, *(text for holds, text in found if holds)]


def inspect_prepared(prepared: PreparedSet, *, uri: str) -> Inspection:
    """Look at every image of a prepared set."""
    manifest = prepared.manifest
    seen = Inspection(uri, manifest.class_names)
    form = (f"{manifest.image_size} x {manifest.image_size}", "RGB" if manifest.channels == 3 else "L")

    def parts() -> Iterator[_Seen]:
        for start in range(0, prepared.count, _AT_ONCE):
            indices = np.arange(start, min(start + _AT_ONCE, prepared.count))
            labels = prepared.labels[indices].tolist()
            yield _Seen(prepared.gather(indices), labels, [form] * len(indices))

    _look(seen, parts())
    seen.digest, seen.heldout_count = manifest.digest, manifest.heldout_count
    seen.bad_count, seen.bad = manifest.bad_count, manifest.bad
    train = np.delete(prepared.labels, prepared.heldout)
    seen.train_counts = tuple(np.bincount(train, minlength=len(manifest.class_names)).tolist())
    return seen


def inspect_source(plan: Preparation) -> Inspection:
    """Decode every image of a source, small."""
    seen, bad = Inspection(plan.record.uri, plan.images.class_names), []
    settings = PrepareSettings(image_size=SEEN_SIZE, channels=plan.settings.channels)

    def parts() -> Iterator[_Seen]:
        for start in range(0, len(plan.images.images), _AT_ONCE):
            images = plan.images.images[start : start + _AT_ONCE]
            labels: list[int] = []
            forms: list[tuple[str, str]] = []
            pixels: list[NDArray[np.uint8]] = []
            for place, content in enumerate(plan.source.read(images)):
                try:
                    if isinstance(content, BadImage):
                        raise content
                    pixels.append(decoded(content, settings))
                    forms.append(form_of(content))
                    labels.append(int(plan.images.labels[start + place]))
                except BadImage as error:
                    bad.append(BadFile(key=images[place].key, reason=str(error)))
            if pixels:
                yield _Seen(np.stack(pixels), labels, forms)

    _look(seen, parts())
    seen.bad_count, seen.bad = len(bad), tuple(bad[:10])
    return seen


def _look(seen: Inspection, parts: Iterator[_Seen]) -> None:
    thumbnails: list[Thumbnails] = []
    by_class: dict[int, list[NDArray[np.uint8]]] = {}
    first: list[NDArray[np.uint8]] = []
    for part in parts:
        seen.count += len(part.images)
        seen.pixels = PixelCounts.joined([seen.pixels, PixelCounts.of(part.images)])
        seen.class_counts.update(part.labels)
        for size, mode in part.forms:
            seen.sizes[size] += 1
            seen.modes[mode] += 1
        thumbnails.append(Thumbnails.of(part.images))
        first.extend(part.images[: SHEET_IMAGES - len(first)])
        for image, label in zip(part.images, part.labels, strict=True):
            if len(by_class.setdefault(label, [])) < SHEET_OF_CLASS:
                by_class[label].append(image)
    if thumbnails:
        seen.near_duplicates = _near_duplicates(Thumbnails.joined(thumbnails))
        seen.sheet = np.stack(first)
        blank = np.full_like(first[0], 255)
        rows = [[*row, *[blank] * (SHEET_OF_CLASS - len(row))] for _, row in sorted(by_class.items())]
        seen.class_sheet = np.stack([image for row in rows for image in row])


def _near_duplicates(thumbnails: Thumbnails) -> int:
    rank = np.arange(len(thumbnails.contrasts))
    groups = bounded_groups(near_pairs(thumbnails.relative_to_the_set(), rank), rank)
    return len(rank) - len(np.unique(groups))
