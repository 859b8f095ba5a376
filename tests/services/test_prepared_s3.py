"""One set in memory, in shards on a disk, and in shards in a bucket: training sees the same of each."""

import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.prepared import prepared
from tests.support.s3 import BUCKET, S3Server
from tests.support.trials import small_trial
from trainables.data import ImageSet, open_images
from trainables.data.prepared import arriving, node_cache
from trainables.data.prepared.images import PreparedImages
from trainables.data.prepared.manifest import Shard
from trainables.data.prepared.node_cache import HeldSet
from trainables.training.ahead import BatchPiece
from trainables.training.batches import Batch, Batches

COUNT, SIZE = 50, 16
UPDATES = 15
"""More than an epoch."""


@pytest.fixture(autouse=True)
def own_node_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(node_cache, "SPARED_BYTES", 0)


def in_shards(address: str, *, per_shard: int) -> PreparedImages:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    prepared(address, images, np.arange(COUNT) % 3, per_shard=per_shard)
    opened = open_images(address)
    assert isinstance(opened, PreparedImages)
    return opened


def in_memory(like: PreparedImages, folder: Path) -> ImageSet:
    """An .npz file of the same images in the same order."""
    every, path = np.arange(COUNT), folder / "set.npz"
    pixels = like.read(every).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=pixels, labels=like.labels(every).numpy(), heldout=like.heldout)
    return open_images(str(path))


def batches(images: ImageSet, *, workers: int) -> list[Batch]:
    """What the workers of a group see together, update by update, each with its next micro-batch gathered ahead."""
    trial = small_trial(batch_size=4)
    share = trial.batch_size // workers
    readers = [Batches(trial, images, device=torch.device("cpu")) for _ in range(workers)]
    seen = []
    for first in range(0, UPDATES * trial.batch_size, trial.batch_size):
        parts = []
        for rank, reader in enumerate(readers):
            low = first + rank * share
            parts.append(reader.made(*reader.fetch(low, share, then=[BatchPiece(low + trial.batch_size, share)])))
        x, e, t, y = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "e", "t", "y"))
        seen.append(Batch(x, e, t, y))
    return seen


def test_batches_are_the_same_bits_from_memory_disk_and_bucket_for_any_workers(s3: S3Server, tmp_path: Path) -> None:
    disk = in_shards(str(tmp_path / "set"), per_shard=7)
    bucket = in_shards(f"s3://{BUCKET}/{uuid.uuid4().hex}", per_shard=11)
    sources: list[ImageSet] = [in_memory(disk, tmp_path), disk, bucket]
    expected = batches(sources[0], workers=1)
    for images in sources:
        for workers in (1, 2, 4):
            for batch, as_expected in zip(batches(images, workers=workers), expected, strict=True):
                for name in ("x", "e", "t", "y"):
                    assert getattr(batch, name).equal(getattr(as_expected, name))


def test_training_begins_before_the_last_shard_is_here(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, fetch = threading.Event(), HeldSet.fetch

    def only_the_first(held: HeldSet, shard: Shard, read: Callable[[], bytes], *, wait: bool) -> bool:
        assert shard.name.startswith("images-00000") or go_on.wait(60)
        return fetch(held, shard, read, wait=wait)

    monkeypatch.setattr(HeldSet, "fetch", only_the_first)
    bucket = in_shards(f"s3://{BUCKET}/{uuid.uuid4().hex}", per_shard=11)
    disk = in_shards(str(tmp_path / "set"), per_shard=7)
    every = np.random.default_rng(1).permutation(COUNT)
    assert bucket.read(every).equal(disk.read(every))
    assert len(list(tmp_path.glob("jit-sweep-*/sets/*/images-*.npy"))) <= 1
    go_on.set()
    shards = bucket.prepared.shard_pixels
    assert isinstance(shards, arriving.ArrivingShards)
    shards._fetching.join(60)
    assert len(list(tmp_path.glob("jit-sweep-*/sets/*/images-*.npy"))) == 5
    s3.kill()  # from here on the node's copy must do
    try:
        assert bucket.read(every).equal(disk.read(every))
    finally:
        s3.start()
