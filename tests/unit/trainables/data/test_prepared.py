"""Prepared sets: what their folder promises, and what a damaged one gets."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.prepared import prepared
from trainables.data import describe, open_images
from trainables.data.prepared.content import canonical_order, pixel_hashes
from trainables.data.prepared.layout import MANIFEST, read_manifest
from trainables.data.prepared.manifest import SCHEMA_VERSION
from trainables.data.prepared.prepared_set import open_prepared
from trainables.storage.folder import Folder

COUNT = 20


def drawn(count: int = COUNT, *, size: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % 3


@pytest.mark.parametrize("per_shard", [1, 6, 100])
def test_a_digest_is_of_images_and_labels_whatever_their_order_and_shards(per_shard: int, tmp_path: Path) -> None:
    mixed = np.random.default_rng(1).permutation(COUNT)
    straight = prepared(tmp_path / "a", drawn(), labels())
    other = prepared(tmp_path / "b", drawn()[mixed], labels()[mixed], per_shard=per_shard)
    assert (straight.content, straight.digest) == (other.content, other.digest)
    relabelled = prepared(tmp_path / "c", drawn(), (labels() + 1) % 3)
    assert relabelled.content != straight.content


def test_images_are_gathered_by_canonical_index_across_shards(tmp_path: Path) -> None:
    images = drawn()
    images[11] = images[3]  # a duplicate, of another class
    prepared(tmp_path, images, labels())
    order = canonical_order(pixel_hashes(images), labels())
    opened = open_prepared(str(tmp_path))
    asked = np.array([19, 0, 7, 7, 12])
    assert np.array_equal(opened.gather(asked), images[order[asked]])
    assert np.array_equal(opened.labels, labels()[order])
    pixels = opened.shard_pixels(opened.manifest.shards[0])
    assert isinstance(pixels, np.ndarray)
    assert isinstance(pixels.base, np.memmap)


def test_a_prepared_set_in_a_bucket_reads_as_one_on_a_disk(tmp_path: Path) -> None:
    for address in (str(tmp_path), "memory://sets/a"):
        prepared(address, drawn(), labels())
    local, remote = open_images(str(tmp_path)), open_images("memory://sets/a")
    every = np.arange(COUNT)
    assert (local.read(every) == remote.read(every)).all()
    assert (local.labels(every) == remote.labels(every)).all()
    assert local.fingerprint == remote.fingerprint == describe("memory://sets/a").digest
    assert local.train.tolist() == list(range(4, COUNT))


def test_the_first_manifest_stands(tmp_path: Path) -> None:
    first = prepared(tmp_path, drawn(), labels())
    second = prepared(tmp_path, drawn(), labels(), per_shard=3)
    assert second == first == read_manifest(Folder(str(tmp_path)))
    assert np.array_equal(open_prepared(str(tmp_path)).gather(np.arange(3)), first_images(3))


def first_images(count: int) -> np.ndarray:
    order = canonical_order(pixel_hashes(drawn()), labels())
    return drawn()[order[:count]]


def test_a_set_without_its_manifest_is_none(tmp_path: Path) -> None:
    prepared(tmp_path, drawn(), labels())
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(ValueError, match="written last, got none"):
        open_prepared(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("order", "cut", "got 10 bytes at"),
        ("order", "change", "got other content"),
        ("order", "remove", "got no file at"),
        ("images-00001", "cut", "got 10 bytes at"),
        ("images-00001", "remove", "got no file at"),
    ],
)
def test_a_damaged_file_of_a_set_is_named(file: str, damage: str, message: str, tmp_path: Path) -> None:
    prepared(tmp_path, drawn(), labels())
    (path,) = tmp_path.glob(f"{file}-*.npy")
    content = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(content[:10] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=message):
        open_prepared(str(tmp_path)).gather(np.arange(COUNT))


def test_a_manifest_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    prepared(tmp_path, drawn(), labels())
    manifest = tmp_path / MANIFEST
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**whole, "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ValueError, match=rf"must be of schema version {SCHEMA_VERSION} or older, got {SCHEMA_VERSION + 1}"):
        describe(str(tmp_path))
    manifest.write_text(json.dumps({**whole, "count": -1}))
    with pytest.raises(ValueError, match="got a wrong count"):
        describe(str(tmp_path))
    manifest.write_text(json.dumps(whole)[:99])
    with pytest.raises(ValueError, match="got 99 bytes that are no JSON"):
        describe(str(tmp_path))


def test_a_holdout_other_than_the_set_s_own_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, drawn(), labels())
    with pytest.raises(ValueError, match="held-out list, 4, got holdout=5"):
        describe(str(tmp_path), holdout=5)


def test_a_set_s_content_is_committed_with_its_facts(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, drawn(), labels())
    assert manifest.class_counts == (7, 7, 6)
    assert sum(shard.count for shard in manifest.shards) == manifest.count == COUNT
    assert {file.name for file in manifest.files} | {MANIFEST} == {path.name for path in tmp_path.iterdir()}
