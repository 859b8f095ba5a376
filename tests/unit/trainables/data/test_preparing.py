"""Preparation: one set of the same images from every format, bad files named, half-made sets gone on with."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support.sources import CLASSES, WRITERS, Drawn, looked_at, write_folder
from trainables.data.prepared.layout import MANIFEST
from trainables.data.prepared.making import ShardRecord, ShardWork
from trainables.data.prepared.prepared_set import open_prepared
from trainables.data.prepared.preparing import in_this_process, prepare

DRAWN = Drawn()
COUNT = len(DRAWN.pixels)
IMAGE_BYTES = DRAWN.pixels[0].nbytes


CONTENT = "c9965a5fd6a6ece476588669e87d105f3ac7ea3bcc50972d796282baedbab06d"
"""Of the drawn images: sets that were prepared before are known by it."""


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the set that class folders become."""
    top = tmp_path_factory.mktemp("digest")
    return prepare(looked_at(write_folder(top / "in", DRAWN)), str(top / "out")).digest


def pairs(folder: Path) -> set[tuple[bytes, int]]:
    """Each image of a prepared set with its label."""
    opened = open_prepared(str(folder))
    images = opened.gather(np.arange(opened.count))
    return {(image.tobytes(), int(label)) for image, label in zip(images, opened.labels, strict=True)}


def drawn_pairs() -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(DRAWN.pixels, DRAWN.labels, strict=True)}


def test_class_folders_become_a_set_of_their_images_and_classes(tmp_path: Path) -> None:
    manifest = prepare(looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "out"))
    assert manifest.class_names == CLASSES
    assert (manifest.count, manifest.heldout_count, manifest.class_counts) == (COUNT, 4, (8, 8, 8))
    assert pairs(tmp_path / "out") == drawn_pairs()
    assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        MANIFEST,
        *(file.name for file in manifest.files),
    }


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_of_the_same_images_gives_one_digest(kind: str, digest: str, tmp_path: Path) -> None:
    plan = looked_at(WRITERS[kind](tmp_path / "in", DRAWN))
    manifest = prepare(plan, str(tmp_path / "out"), shard_bytes=7 * IMAGE_BYTES)
    assert manifest.source.format == kind.split()[-1]
    assert (manifest.content, manifest.digest) == (CONTENT, digest)
    assert pairs(tmp_path / "out") == drawn_pairs()


@pytest.mark.parametrize("per_shard", [1, 5, 100])
def test_neither_shards_nor_the_order_of_their_making_change_a_digest(per_shard: int, digest: str, tmp_path: Path) -> None:
    def backwards(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
        return in_this_process(works[::-1])

    plan = looked_at(write_folder(tmp_path / "in", DRAWN))
    manifest = prepare(plan, str(tmp_path / "out"), run=backwards, shard_bytes=per_shard * IMAGE_BYTES)
    assert len(manifest.shards) == -(-COUNT // per_shard)
    assert (manifest.content, manifest.digest) == (CONTENT, digest)


def test_an_interrupted_preparation_goes_on_with_the_shards_that_are_done(digest: str, tmp_path: Path) -> None:
    plan, out = looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "out")
    made: list[int] = []

    def dies(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
        yield from islice(in_this_process(works), 2)
        raise KeyboardInterrupt

    def noted(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
        made.extend(work.number for work in works)
        return in_this_process(works)

    with pytest.raises(KeyboardInterrupt):
        prepare(plan, out, run=dies, shard_bytes=5 * IMAGE_BYTES)
    (half,) = (tmp_path / "out").glob("images-00001-*.npy")
    half.write_bytes(half.read_bytes()[:-1])
    told: list[tuple[int, int]] = []
    manifest = prepare(plan, out, run=noted, shard_bytes=5 * IMAGE_BYTES, tell=lambda *counts: told.append(counts))
    assert made == [1, 2, 3, 4]
    assert told == [(5, 24), (10, 24), (15, 24), (20, 24), (24, 24)]
    assert (manifest.content, manifest.digest) == (CONTENT, digest)


def test_of_two_writers_one_wins_and_both_have_its_set(tmp_path: Path) -> None:
    plan, out = looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "out")
    other = []

    def overtaken(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
        other.append(prepare(plan, out, shard_bytes=3 * IMAGE_BYTES))
        return in_this_process(works)

    assert prepare(plan, out, run=overtaken, shard_bytes=5 * IMAGE_BYTES) == other[0]
    assert pairs(tmp_path / "out") == drawn_pairs()


def test_what_is_prepared_is_found_again_and_not_made_again(tmp_path: Path) -> None:
    plan, out = looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "out")

    def never(works: Sequence[ShardWork]) -> Iterator[ShardRecord]:
        raise AssertionError("it is there")

    assert prepare(plan, out) == prepare(plan, out, run=never)


def test_a_prepared_set_is_never_mixed_with_another_source_or_other_settings(tmp_path: Path) -> None:
    top, out = write_folder(tmp_path / "in", DRAWN), str(tmp_path / "out")
    prepare(looked_at(top), out)
    with pytest.raises(ValueError, match=r"never changes, got .* made with holdout=4 \(now 5\); name another"):
        prepare(looked_at(top, holdout=5), out)
    Path(top, DRAWN.name(0)).unlink()
    with pytest.raises(ValueError, match="has changed or is another: 23 files of .* bytes now, 24 files of .* then"):
        prepare(looked_at(top), out)
