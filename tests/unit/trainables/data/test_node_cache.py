"""A node's copy of prepared sets: fetched once, held while it is read, evicted by last use."""

import multiprocessing
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.prepared import prepared
from trainables.data import DataError, open_images
from trainables.data.prepared import node_cache
from trainables.data.prepared.manifest import Manifest, Shard
from trainables.data.prepared.node_cache import CacheFull, HeldSet, NodeCache, has_shard, set_name

KIB = 2**10


@pytest.fixture(autouse=True)
def any_disk_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cache, "SPARED_BYTES", 0)


def manifest(folder: Path, *, seed: int = 0, count: int = 12) -> Manifest:
    """A set of 3 shards of 4 KiB."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)
    return prepared(folder / f"source-{seed}", images, np.arange(count) % 2, per_shard=4)


def content(folder: Path, seed: int, shard: Shard) -> bytes:
    return (folder / f"source-{seed}" / shard.name).read_bytes()


def filled(cache: NodeCache, folder: Path, *, seed: int) -> tuple[HeldSet, Manifest]:
    record = manifest(folder, seed=seed)
    held = cache.hold(record)
    for shard in record.shards:
        assert held.fetch(shard, partial(content, folder, seed, shard), wait=True)
    return held, record


def names(cache: NodeCache) -> set[str]:
    return {path.name for path in cache.root.iterdir() if path.is_dir()}


def test_the_set_that_was_used_longest_ago_makes_room_and_none_that_is_held(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", most_bytes=40 * KIB)
    held, kept = filled(cache, tmp_path, seed=0)
    gone = []
    for seed in (1, 2):
        idle, record = filled(cache, tmp_path, seed=seed)
        os.utime(idle.folder / "used", (seed, seed))
        idle.user.release()
        gone.append(record)
    later, last = filled(cache, tmp_path, seed=3)
    assert names(cache) == {set_name(record) for record in (kept, gone[1], last)}
    assert all(has_shard(held.folder, shard) for shard in kept.shards)
    assert all(has_shard(later.folder, shard) for shard in last.shards)


def test_a_set_that_does_not_fit_is_refused_with_the_place_and_what_is_lacking(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", most_bytes=20 * KIB)
    held, _ = filled(cache, tmp_path, seed=0)
    with pytest.raises(CacheFull, match=f"must fit below {cache.root}, got .* GiB to fetch, .*free the disk"):
        cache.hold(manifest(tmp_path, seed=1))
    held.user.release()
    cache.hold(manifest(tmp_path, seed=1))


def test_a_disk_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cache, "SPARED_BYTES", 2**60)
    with pytest.raises(CacheFull, match="free the disk, set TMPDIR"):
        NodeCache(tmp_path / "cache").hold(manifest(tmp_path))


def hold_and_die(root: Path, source: Path) -> None:
    NodeCache(root).hold(manifest(source))
    os._exit(0)


def test_a_set_whose_reader_died_is_held_by_nobody(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache")
    record = manifest(tmp_path)
    reader = multiprocessing.get_context("fork").Process(target=hold_and_die, args=(cache.root, tmp_path))
    reader.start()
    reader.join()
    folder = cache.root / set_name(record)
    assert list(folder.glob("users/*.lock"))
    assert not node_cache.is_held(folder)


def test_a_shard_is_fetched_once_however_many_ask_for_it(tmp_path: Path) -> None:
    record = manifest(tmp_path)
    cache, shard = NodeCache(tmp_path / "cache"), record.shards[0]
    readers = [cache.hold(record) for _ in range(2)]
    asked, go_on = threading.Event(), threading.Event()
    reads = []

    def slowly() -> bytes:
        reads.append("first")
        asked.set()
        assert go_on.wait(30)
        return content(tmp_path, 0, shard)

    first = threading.Thread(target=readers[0].fetch, args=(shard, slowly), kwargs={"wait": True})
    first.start()
    assert asked.wait(30)
    assert not readers[1].fetch(shard, lambda: pytest.fail("fetched twice"), wait=False)
    go_on.set()
    assert readers[1].fetch(shard, lambda: pytest.fail("fetched twice"), wait=True)
    first.join()
    assert reads == ["first"]


@pytest.fixture
def stored(tmp_path: Path) -> str:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype=np.uint8)
    address = f"memory://{tmp_path.name}"
    prepared(address, images, np.arange(12) % 2, per_shard=4)
    return address


def test_a_shard_of_other_content_than_its_manifest_says_is_never_read(stored: str, tmp_path: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    for path in fs.glob(f"/{tmp_path.name}/images-*.npy"):
        fs.pipe(path, fs.cat(path)[:-1] + bytes([fs.cat(path)[-1] ^ 1]))
    images = open_images(stored)
    images.prepared.shard_pixels._fetching.join()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="got other content"):
        images.read(images.train)
    assert not list(tmp_path.glob("jit-sweep-*/sets/*/images-*.npy"))


def test_the_environment_of_a_node_limits_its_cache(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node_cache.node_cache().most_bytes is None
    monkeypatch.setenv("JIT_SWEEP_CACHE_GIB", "1.5")
    assert node_cache.node_cache().most_bytes == 3 * 2**29
    monkeypatch.setenv("JIT_SWEEP_CACHE_GIB", "0.00001")
    with pytest.raises(CacheFull, match="raise JIT_SWEEP_CACHE_GIB"):
        open_images(stored).read(np.arange(4))
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv("JIT_SWEEP_CACHE_GIB", wrong)
        with pytest.raises(DataError, match=f"JIT_SWEEP_CACHE_GIB must be a number of GiB above 0 .*, got '{wrong}'"):
            open_images(stored)
