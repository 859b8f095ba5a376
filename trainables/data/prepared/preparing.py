"""Preparation: from a source and settings to a prepared set. Interrupted, it goes on with the shards that are done."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from trainables.config.fields import content_hash, counted, identity
from trainables.data.array_rules import check_content
from trainables.data.holdout import NamedSplit, count_of
from trainables.data.pixel_counts import PixelCounts
from trainables.data.prepared.layout import SHARD_BYTES, SetContent, check_files, commit, images_per_shard, read_manifest
from trainables.data.prepared.making import ShardRecord, ShardWork, make_shard
from trainables.data.prepared.manifest import MOST_BAD_NAMED, BadFile, Manifest, SourceRecord
from trainables.data.prepared.settings import PrepareSettings, SkipBad
from trainables.data.sources.classes import Labelled, labelled
from trainables.data.sources.decoding import size_of
from trainables.data.sources.registry import source_of
from trainables.data.sources.source import BadImage, Source, SourceImage
from trainables.data.split import Split, split_by_contrast
from trainables.data.thumbnails import Thumbnails
from trainables.storage.folder import Folder
from trainables.storage.listing import FileListing

RULES_VERSION = 1
"""Raised where equal sources and settings begin to give other pixels."""
MOST_LOOKED = 32
"""Images of a source whose heads are read before it is prepared: spread over files of their own, else the first, since parts of
a large file may cost as much to reach as the whole."""
LEAST_IMAGES = 4
"""Two to hold out, and two to train on."""
Run = Callable[[Sequence[ShardWork]], Iterable[ShardRecord]]
"""Makes shards, in any order, in any number of processes."""
Tell = Callable[[int, int], object]
"""Told how many images of how many are done."""


def in_this_process(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
    """One shard after the other."""
    return map(make_shard, works)


@dataclass(frozen=True)
class Preparation:
    """A source, looked at but not decoded, and what is to be made of it."""

    record: SourceRecord
    source: Source
    images: Labelled
    settings: PrepareSettings

    @property
    def id(self) -> str:
        """Names the result by the source's listing and the settings, before it is there."""
        return prepared_id(self.record, self.settings)

    def image_size(self) -> int:
        """Height and width that the images will have; the head of the first is read where the settings do not say.

        ValueError: the first is no image.
        """
        if self.settings.image_size is not None:
            return self.settings.image_size
        first = self.images.images[0]
        try:
            content = next(iter(self.source.read([first])))
            if isinstance(content, BadImage):
                raise content
            return size_of(content)[1]
        except BadImage as error:
            raise ValueError(f"`image_size` must be given where the first image has none, got {first.key}: {error}") from None


def check_looks(plan: Preparation) -> None:
    """ValueError: more of the images that are looked at are bad than may be.

    Only heads are read: other images, and the pixels of these, may be bad besides.
    """
    images = plan.images.images
    step = max(1, len(images) // MOST_LOOKED) if plan.record.format in ("folder", "zip") else 1
    looked = images[::step][:MOST_LOOKED]
    bad = [BadFile(key=image.key, reason=reason) for image, reason in _looks(plan, looked) if reason]
    most = plan.settings.on_bad.skip if isinstance(plan.settings.on_bad, SkipBad) else 0
    if len(bad) > most:
        sizes = plan.settings.image_size is None and any("pixels, not" in file.reason for file in bad)
        remedy = f"image_size: {plan.image_size()} crops and resizes them; or " if sizes else ""
        raise ValueError(_refusal(bad, plan, most=most, seen=f" among {len(looked)} looked at", remedy=remedy))


def _looks(plan: Preparation, images: Sequence[SourceImage]) -> Iterator[tuple[SourceImage, str]]:
    """Each image with what is wrong with its head; nothing where that is sound."""
    as_it_is = plan.settings.image_size is None or plan.settings.crop == "none"
    size = plan.image_size() if as_it_is else None
    for image, content in zip(images, plan.source.read(images), strict=True):
        try:
            if isinstance(content, BadImage):
                raise content
            width, height = size_of(content)
            wrong = size is not None and (width, height) != (size, size)
            yield image, f"{width} x {height} pixels, not {size} x {size}" if wrong else ""
        except BadImage as error:
            yield image, str(error)


def prepared_id(source: SourceRecord, settings: PrepareSettings) -> str:
    """Equal for equal listings and settings."""
    return content_hash({"source": source.identity, "settings": identity(settings), "rules": RULES_VERSION})


def source_record(listing: FileListing, *, format: str, uri: str) -> SourceRecord:
    """What a manifest says of a source; `uri` without password."""
    return SourceRecord(
        uri=uri,
        format=format,
        identity=listing.identity,
        names=listing.names,
        files=len(listing.files),
        bytes=listing.bytes,
    )


def preparation_of(listing: FileListing, settings: PrepareSettings, *, format: str | None, uri: str) -> Preparation:
    """Look at a source: its format, images and classes. ValueError: it is no source, or the settings do not fit it."""
    name, source = source_of(listing, format=format)
    index = source.index(settings.labels)
    images = labelled(index, classes=settings.classes, limit=settings.limit, where=uri)
    return Preparation(source_record(listing, format=name, uri=uri), source, images, settings)


def prepare(
    plan: Preparation,
    out: str,
    *,
    run: Run = in_this_process,
    tell: Tell = lambda done, total: None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Make the set at `out`, or go on with it, or find it there. Of two writers one wins, and both return its manifest.

    ValueError, with rule, value and remedy: `out` holds another set, files are bad, or the split cannot be made.
    OSError: storage fails.
    """
    folder = Folder(out)
    standing = read_manifest(folder)
    if standing is not None:
        check_files(folder, standing)
        return _same(standing, plan, out)
    check_holdout(plan)
    size = plan.image_size()
    channels = 3 if plan.settings.channels == "rgb" else 1
    shape = (size, size, channels)
    sized = plan.settings.model_copy(update={"image_size": size})
    works = _works(plan, out, settings=sized, per_shard=images_per_shard(shape, most_bytes=shard_bytes))
    records = _made(works, folder, plan, run=run, tell=tell)
    return _same(_committed(records, folder, plan, shape=shape), plan, out)


def check_holdout(plan: Preparation) -> None:
    """ValueError: it is not said how many images to hold out, or too many."""
    count, holdout = len(plan.images.images), plan.settings.holdout
    if count < LEAST_IMAGES:
        raise ValueError(f"a source must hold {LEAST_IMAGES} images or more, got {count} in {plan.record.uri}; add some")
    if holdout is None:
        rule = "a source of images needs `holdout`, the number of images to split off"
        raise ValueError(f"{rule}, got none for {plan.record.uri} with {count} images; try {min(384, max(2, count // 5))}")
    if isinstance(holdout, NamedSplit):
        _check_named(plan, holdout.split)
    elif not LEAST_IMAGES // 2 <= count_of(holdout, count) <= count // 2:
        rule = "`holdout` must be at least 2 and at most half of the images"
        raise ValueError(f"{rule}, got holdout={holdout} of {count}; try {min(384, max(2, count // 5))}")


def _check_named(plan: Preparation, name: str) -> None:
    """ValueError: the source has no such split, or too little in it or beside it."""
    splits = Counter(image.split for image in plan.images.images)
    if min(splits[name], splits.total() - splits[name]) < 2:
        named = ", ".join(f"{split} ({of})" for split, of in sorted(splits.items(), key=str) if split) or "none"
        rule = "`holdout: {split: NAME}` must name a split of the source with 2 images or more, and as many beside it"
        raise ValueError(f"{rule}, got {name!r} with {splits[name]} of {splits.total()} in {plan.record.uri}; it has {named}")


def heldout_count(plan: Preparation) -> int:
    """Images that `holdout` takes, bad files aside."""
    holdout = plan.settings.holdout
    if isinstance(holdout, NamedSplit):
        return sum(image.split == holdout.split for image in plan.images.images)
    return count_of(holdout or 0, len(plan.images.images))


def _works(plan: Preparation, out: str, *, settings: PrepareSettings, per_shard: int) -> list[ShardWork]:
    images, labels = plan.images.images, plan.images.labels
    return [
        ShardWork(
            number=number,
            format=plan.record.format,
            images=images[start : start + per_shard],
            labels=labels[start : start + per_shard],
            settings=settings,
            out=out,
            record=f"{progress_folder(plan, per_shard)}/{number:05d}.json",
        )
        for number, start in enumerate(range(0, len(images), per_shard))
    ]


def progress_folder(plan: Preparation, per_shard: int) -> str:
    """Where the records of shards that are done lie: those of another source or other settings lie elsewhere."""
    return f"progress/{plan.id}-{per_shard}"


def _made(works: Sequence[ShardWork], folder: Folder, plan: Preparation, *, run: Run, tell: Tell) -> list[ShardRecord]:
    done = {record.number: record for record in _done(works, folder)}
    total, ready = len(plan.images.images), sum(len(record.labels) + len(record.bad) for record in done.values())
    tell(ready, total)
    _refuse_bad(list(done.values()), plan, whole=len(done) == len(works))
    for record in run([work for work in works if work.number not in done]):
        done[record.number] = record
        ready += len(record.labels) + len(record.bad)
        tell(ready, total)
        _refuse_bad(list(done.values()), plan, whole=len(done) == len(works))
    return [done[number] for number in sorted(done)]


def _done(works: Sequence[ShardWork], folder: Folder) -> Iterator[ShardRecord]:
    """The records of shards that an earlier try has finished, and whose files are whole."""
    if not works:
        return
    there = set(folder.names(works[0].record.rpartition("/")[0]))
    sizes = folder.sizes("") if there else {}
    for work in works:
        if work.record.rpartition("/")[2] in there:
            record = ShardRecord.model_validate_json(folder.read(work.record))
            if record.shard is None or sizes.get(record.shard.name) == record.shard.bytes:
                yield record


def _refuse_bad(records: Sequence[ShardRecord], plan: Preparation, *, whole: bool) -> None:
    """ValueError: more bad files than are allowed, once ten are known or all are."""
    bad = _bad(records)
    most = plan.settings.on_bad.skip if isinstance(plan.settings.on_bad, SkipBad) else 0
    if len(bad) <= most or not (whole or len(bad) >= MOST_BAD_NAMED):
        return
    raise ValueError(_refusal(bad, plan, most=most, seen="" if whole else " so far"))


def _refusal(bad: Sequence[BadFile], plan: Preparation, *, most: int, seen: str, remedy: str = "") -> str:
    """The rule, the first bad files, and the remedies; `seen`: of what they are."""
    allowed = f"at most {most} may be bad" if most else "every file must be an image"
    lines = [f"  {file.key}: {file.reason}" for file in bad[:MOST_BAD_NAMED]]
    more = [f"  and {len(bad) - MOST_BAD_NAMED} more"] if len(bad) > MOST_BAD_NAMED else []
    enough = max(len(bad), 2 * most)
    remedy += f"mend or remove them, or leave them out by on_bad: {{skip: {enough}}} (--skip-bad {enough})"
    lead = f"{allowed} (`on_bad`), got {counted(len(bad), 'bad file')}{seen} in {plan.record.uri}; {remedy}:"
    return "\n".join([lead, *lines, *more])


def _bad(records: Sequence[ShardRecord]) -> list[BadFile]:
    return [file for record in sorted(records, key=lambda record: record.number) for file in record.bad]


def _committed(records: Sequence[ShardRecord], folder: Folder, plan: Preparation, *, shape: tuple[int, int, int]) -> Manifest:
    shards = [record.shard for record in records if record.shard is not None]
    if not shards:
        raise ValueError(f"a prepared set must hold images, got none in {plan.record.uri}; look at its files")
    hashes = np.concatenate([record.image_hashes() for record in records if record.shard is not None])
    labels = np.array([label for record in records for label in record.labels], dtype=np.int64)
    pixels = PixelCounts.joined(record.pixels for record in records)
    alike = bool((hashes == hashes[0]).all())
    check_content(len(hashes), brightest=pixels.brightest, alike=alike, uri=plan.record.uri)
    content = SetContent(hashes, labels)
    split = _split(content, [record for record in records if record.shard is not None], plan)
    manifest = commit(
        folder,
        content,
        shards=shards,
        shape=shape,
        class_names=plan.images.class_names,
        heldout=split.heldout,
        split_rule=split.rule,
        source=plan.record,
        settings=plan.settings,
        bad=_bad(records),
        pixels=pixels,
    )
    _tidy(folder)
    return manifest


def _split(content: SetContent, records: Sequence[ShardRecord], plan: Preparation) -> Split:
    """Which images, by canonical index, are held out."""
    holdout = plan.settings.holdout
    assert holdout is not None, "checked before anything was decoded"
    if isinstance(holdout, NamedSplit):
        apart = np.array([split == holdout.split for record in records for split in record.splits])[content.order]
        return Split(np.flatnonzero(apart), f"the source's own split {holdout.split!r}")
    by_row = Thumbnails.joined([record.image_thumbnails() for record in records])
    thumbnails = Thumbnails(by_row.values[content.order], by_row.contrasts[content.order])
    return split_by_contrast(thumbnails, content.hashes, content.labels, count=count_of(holdout, len(content.labels)))


def _tidy(folder: Folder) -> None:
    """Remove what only preparation needed; best effort, since the set stands without it."""
    with suppress(OSError):
        parts = {f"progress/{name}".rpartition("/")[0] for name in folder.sizes("progress")}
        for part in sorted(parts):
            folder.remove_folder(part)
        folder.remove_if_empty("progress")


def _same(manifest: Manifest, plan: Preparation, out: str) -> Manifest:
    """The manifest at `out`, where it is of this source and these settings. ValueError: what differs."""
    if prepared_id(manifest.source, manifest.settings) == plan.id:
        return manifest
    rule = "a prepared set never changes"
    remedy = "name another folder, or delete that one"
    if manifest.source.identity != plan.record.identity:
        got = f"{out}, whose source has changed or is another: {manifest.source.change_to(plan.record)}"
        raise ValueError(f"{rule}, got {got}; {remedy}")
    before, now = manifest.settings.model_dump(), plan.settings.model_dump()
    changed = ", ".join(f"{key}={before[key]} (now {now[key]})" for key in now if now[key] != before[key])
    raise ValueError(f"{rule}, got {out}, made with {changed}; {remedy}")
