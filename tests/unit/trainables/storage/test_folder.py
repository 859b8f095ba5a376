"""Storage on disks that are full or know no hard links, and calls that do not return."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch

from tests.support.disks import disk_of
from trainables.storage.checkpoint import Store
from trainables.storage.folder import Folder
from trainables.storage.remote import within

TRIAL = "0123456789ab"
DISK_KIB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    with disk_of(DISK_KIB, at=tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.EMLINK], ids=errno.errorcode.get)
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, request.param)


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """What the system says on FAT, on some network disks, and of a file with too many names."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)


def files(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def tensors(kib: int) -> dict[str, dict[str, torch.Tensor]]:
    return {part: {"w": torch.zeros(kib * 128)} for part in ("model", "ema")}


def test_a_full_disk_is_named_and_what_was_there_stays(small_disk: Path) -> None:
    folder = Folder(str(small_disk))
    folder.put("kept", b"old")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((DISK_KIB - 64) * 1024))
    for write in (folder.put, folder.create):
        with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/new'") as caught:
            write("new", bytes(256 * 1024))
        assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/kept'"):
        folder.put("kept", bytes(256 * 1024))
    assert (folder.names("."), folder.read("kept")) == (["ballast", "kept"], b"old")
    ballast.unlink()
    folder.put("kept", bytes(256 * 1024))
    assert folder.create("new", bytes(256 * 1024))


def test_a_checkpoint_that_finds_no_room_gives_back_what_it_took_and_is_written_once_there_is(small_disk: Path) -> None:
    store = Store(str(small_disk))
    first = store.write(TRIAL, attempt=1, images=96, tensors=tensors(8), state={})
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((DISK_KIB // 2) * 1024))
    before = files(small_disk)
    with pytest.raises(OSError, match="No space left on device") as caught:
        store.write(TRIAL, attempt=1, images=192, tensors=tensors(600), state={})  # room for one part of two
    assert caught.value.errno == errno.ENOSPC
    assert files(small_disk) == before
    assert store.latest(TRIAL, most_images=192) == first
    ballast.unlink()
    last = store.write(TRIAL, attempt=1, images=192, tensors=tensors(600), state={})
    assert store.read(last).tensors["ema"]["w"].shape == (600 * 128,)


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_a_name_is_still_created_once(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert folder.create("new/marker", b"first")
    assert not folder.create("new/marker", b"second")
    assert files(tmp_path) == {"new/marker": 5}
    assert folder.read("new/marker") == b"first"


def test_without_hard_links_one_of_many_writers_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.EPERM)
    start = Barrier(8)

    def race(number: int) -> bool:
        start.wait()
        return Folder(str(tmp_path)).create("marker", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert sum(won) == 1
    assert Folder(str(tmp_path)).read("marker") == str(won.index(True)).encode()


def test_without_hard_links_and_without_room_no_half_file_takes_the_name(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, errno.EPERM)
    folder = Folder(str(small_disk))
    with pytest.raises(OSError, match="No space left on device"):
        folder.create("marker", bytes(700 * 1024))  # room for one copy, not for two
    assert files(small_disk) == {}
    assert folder.create("marker", bytes(300 * 1024))


def test_a_link_that_fails_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        Folder(str(tmp_path)).create("marker", b"x")
    assert files(tmp_path) == {}


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_sizes_are_those_of_every_file_below(tmp_path: Path, scheme: str) -> None:
    folder = Folder(f"{scheme}{tmp_path}")
    assert folder.sizes("top") == {}
    for name, size in (("top/one", 1), ("top/deep/er/three", 3), ("beside", 7)):
        folder.put(name, bytes(size))
    assert folder.sizes("top") == {"deep/er/three": 3, "one": 1}


HANGING = """
from threading import Event
from trainables.storage.remote import within
try:
    within(0.2, Event().wait)
except TimeoutError:
    print("gave up")
"""


def test_a_call_that_never_returns_is_given_up_and_does_not_keep_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "gave up\n"


def test_what_a_call_raises_is_raised_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        within(30.0, lambda: 1 / 0)
    assert within(30.0, lambda: "answer") == "answer"
