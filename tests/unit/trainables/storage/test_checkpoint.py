"""Checkpoints: whole or not there, and never another attempt's loss."""

import json
import resource
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch

from trainables.storage.checkpoint import CheckpointError, Commit, Store
from trainables.storage.folder import Folder
from trainables.storage.whole import newest_whole

TRIAL = "0123456789ab"


@pytest.fixture(params=["path", "file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


def tensors(value: float = 0.0) -> dict[str, dict[str, torch.Tensor]]:
    whole = torch.arange(24.0).reshape(4, 6) + value
    return {
        "model": {"columns": whole[:, 1:4], "transposed": whole.T, "half": whole.bfloat16()},
        "ema": {"columns": whole[:, 1:4] / 3},
        "optimiser": {"columns/step": torch.tensor(7.0), "empty": torch.zeros(0, 3)},
    }


def write(store: Store, *, images: int, attempt: int = 1, value: float = 0.0, **state: object) -> Commit:
    content: dict[str, Any] = {"images": images, **state}
    return store.write(TRIAL, attempt=attempt, images=images, tensors=tensors(value), state=content)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_is_read_is_what_was_written_bit_for_bit(uri: str) -> None:
    written = tensors(0.1)
    state = {"images": 96, "ema_updates": 2, "note": "µ"}
    commit = Store(uri).write(TRIAL, attempt=3, images=96, tensors=written, state=state)
    read = Store(uri).read(commit)
    assert read.state == state
    assert read.tensors.keys() == written.keys()
    for part, named in written.items():
        for name, tensor in named.items():
            torch.testing.assert_close(read.tensors[part][name], tensor, rtol=0, atol=0)


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    commit = write(store, images=4800, attempt=2)
    folder = f"trials/{TRIAL}/a0002/000000004800"
    parts = {f"{folder}/{file}" for file in ("model.safetensors", "ema.safetensors", "optimiser.safetensors", "state.json")}
    assert files(tmp_path) == parts | {f"trials/{TRIAL}/commits/000000004800.json"}
    assert store.address(commit) == f"{tmp_path}/{folder}"
    assert store.folder(TRIAL, 2) == f"{tmp_path}/trials/{TRIAL}/a0002"


def test_latest_is_the_largest_image_count_within_the_limit(uri: str) -> None:
    store = Store(uri)
    assert store.latest(TRIAL, most_images=1000) is None
    commits = {images: write(store, images=images) for images in (96, 480, 1000, 9600)}
    assert Store(uri).latest(TRIAL, most_images=1000) == commits[1000]
    assert store.latest(TRIAL, most_images=999) == commits[480]
    assert store.latest(TRIAL, most_images=95) is None
    assert store.latest("ba9876543210", most_images=1000) is None


def test_second_writer_gets_the_first_ones_commit_and_leaves_nothing(tmp_path: Path) -> None:
    first = write(Store(str(tmp_path)), images=96, attempt=1, value=1.0)
    before = files(tmp_path)
    second = write(Store(str(tmp_path)), images=96, attempt=2, value=2.0)
    assert second == first
    assert files(tmp_path) == before
    assert Store(str(tmp_path)).read(second).tensors["ema"]["columns"].equal(tensors(1.0)["ema"]["columns"])


def test_of_many_writers_at_once_one_wins_and_all_agree(uri: str) -> None:
    start = Barrier(8)

    def race(attempt: int) -> Commit:
        store = Store(uri)
        start.wait()
        return write(store, images=96, attempt=attempt, value=attempt)

    with ThreadPoolExecutor(8) as pool:
        commits = list(pool.map(race, range(1, 9)))
    winner = commits[0]
    assert commits == [winner] * 8
    assert Store(uri).read(winner).tensors["ema"]["columns"].equal(tensors(winner.attempt)["ema"]["columns"])
    folders = {attempt: f"trials/{TRIAL}/a{attempt:04d}/000000000096" for attempt in range(1, 9)}
    assert [attempt for attempt, folder in folders.items() if Folder(uri).names(folder)] == [winner.attempt]


def test_writing_again_changes_nothing_that_is_committed(uri: str) -> None:
    first = write(Store(uri), images=96, value=1.0)
    assert write(Store(uri), images=96, value=2.0) == first
    assert Store(uri).read(first).tensors["ema"]["columns"].equal(tensors(1.0)["ema"]["columns"])


def test_a_name_is_created_once(uri: str) -> None:
    folder = Folder(uri)
    assert folder.create("new/marker", b"first")
    assert not folder.create("new/marker", b"second")
    assert folder.read("new/marker") == b"first"
    assert folder.names("new") == ["marker"]


def test_a_write_that_fails_half_way_commits_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(store, images=96, loss=float("nan"))
    assert "model.safetensors" in "".join(files(tmp_path))
    assert store.latest(TRIAL, most_images=96) is None
    assert write(store, images=96) == store.latest(TRIAL, most_images=96)


def test_a_disk_that_takes_no_more_bytes_leaves_no_marker_and_no_half_file(tmp_path: Path) -> None:
    large = {"model": {"w": torch.zeros(100_000)}}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Store(str(tmp_path)).write(TRIAL, attempt=1, images=96, tensors=large, state={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == set()
    assert Store(str(tmp_path)).latest(TRIAL, most_images=96) is None


def test_leftovers_of_a_killed_writer_do_not_stop_the_next(tmp_path: Path) -> None:
    leftover = tmp_path / f"trials/{TRIAL}/a0001/000000000096/model.safetensors"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    store = Store(str(tmp_path))
    assert store.latest(TRIAL, most_images=96) is None
    assert store.read(write(store, images=96, attempt=1)).state == {"images": 96}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
@pytest.mark.parametrize(
    ("damage", "rule"), [(cut, "must keep its .* bytes"), (flip, "must keep its SHA-256"), (Path.unlink, "must exist")]
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, file: str, damage: Callable[[Path], None], rule: str) -> None:
    store = Store(str(tmp_path))
    commit = write(store, images=96)
    damage(Path(store.address(commit)) / file)
    with pytest.raises(CheckpointError, match=f"{rule}.*{file}"):
        store.read(commit)


def damaged_marker(store: Path, images: int, content: str) -> Path:
    marker = store / f"trials/{TRIAL}/commits/{images:012d}.json"
    marker.write_text(marker.read_text().replace(str(images), "481") if content == "other" else content)
    return marker


@pytest.mark.parametrize("content", ["", '{"format": 1', "{}", "other"])
def test_a_damaged_marker_is_passed_over_by_its_name_and_replaced_by_who_commits_again(tmp_path: Path, content: str) -> None:
    store = Store(str(tmp_path))
    earlier, later = write(store, images=96), write(store, images=480)
    marker = damaged_marker(tmp_path, 480, content)
    assert store.latest(TRIAL, most_images=480) == earlier
    found = newest_whole(store, TRIAL, most_images=480)
    assert found.commit == earlier
    assert [(damage.images, str(marker) in damage.why) for damage in found.damages] == [(480, True)]
    again = write(store, images=480, attempt=2)
    assert store.latest(TRIAL, most_images=480) == again != later
    assert newest_whole(store, TRIAL, most_images=480).damages == ()


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_file_is_passed_over_and_its_checkpoint_replaced_by_who_commits_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store = Store(str(tmp_path))
    first, earlier, later = (write(store, images=images) for images in (48, 96, 480))
    damage(Path(store.address(later)) / "model.safetensors")
    found = newest_whole(store, TRIAL, most_images=480)
    assert (found.commit, found.earlier) == (earlier, first)
    assert found.checkpoint is not None
    assert found.checkpoint.state == {"images": 96}
    assert [damage.images for damage in found.damages] == [480]
    again = write(store, images=480, attempt=2)
    assert again.attempt == 2
    assert newest_whole(store, TRIAL, most_images=480).commit == again


def test_where_nothing_is_whole_everything_is_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    only = write(store, images=96)
    write(store, images=480)
    damaged_marker(tmp_path, 480, "")
    cut(Path(store.address(only)) / "state.json")
    found = newest_whole(store, TRIAL, most_images=480)
    assert (found.commit, [damage.images for damage in found.damages]) == (None, [480, 96])


def test_files_that_are_no_markers_are_ignored(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    commit = write(store, images=96)
    folder = tmp_path / f"trials/{TRIAL}/commits"
    for name in (".000000000960.json.1.ab", "notes.txt", "960.json"):
        (folder / name).write_text("x")
    assert store.latest(TRIAL, most_images=1000) == commit


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    write(Store(str(tmp_path / "here")), images=96)
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Store(str(tmp_path / "there"))
    commit = moved.latest(TRIAL, most_images=96)
    assert commit is not None
    assert moved.read(commit).state == {"images": 96}


def test_removed_checkpoint_is_gone_with_its_files_and_others_stay(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    kept, removed = write(store, images=480), write(store, images=96)
    store.remove(removed)
    store.remove(removed)
    assert store.latest(TRIAL, most_images=479) is None
    assert all("000000000480" in file for file in files(tmp_path))
    assert store.read(kept).state == {"images": 480}


def test_removing_does_not_touch_what_another_attempt_committed_since(uri: str) -> None:
    store = Store(uri)
    stale = write(store, images=96, attempt=1)
    store.remove(stale)
    theirs = write(store, images=96, attempt=2)
    store.remove(stale)
    assert store.latest(TRIAL, most_images=96) == theirs
    assert store.read(theirs).state == {"images": 96}


def test_marker_is_plain_json_with_size_and_hash_of_every_part(tmp_path: Path) -> None:
    commit = write(Store(str(tmp_path)), images=96)
    marker = json.loads((tmp_path / f"trials/{TRIAL}/commits/000000000096.json").read_text())
    assert (marker["format"], marker["trial_id"], marker["attempt"], marker["images"]) == (1, TRIAL, 1, 96)
    sizes = {part["file"]: part["size"] for part in marker["parts"]}
    folder = tmp_path / commit.folder
    assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()}


def test_all_that_is_stored_of_a_trial_is_listed_with_its_standing_and_size(uri: str) -> None:
    store, folder = Store(uri), Folder(uri)
    assert store.saved(TRIAL) == []
    first, last = write(store, images=96), write(store, images=480, attempt=2)
    for name in ("a0001/000000000480/model.safetensors", "a0003/000000000288/state.json", "a0003/samples-96-ab.png"):
        folder.put(f"trials/{TRIAL}/{name}", bytes(7))
    damaged = write(store, images=960)
    folder.put(f"trials/{TRIAL}/commits/000000000960.json", b"{")
    found = store.saved(TRIAL)
    standings = [(saved.images, saved.attempt, saved.standing) for saved in found]
    committed, rest = "committed", "uncommitted"
    expected = [(96, 1, committed), (288, 3, rest), (480, 1, rest), (480, 2, committed), (960, 1, "unclear")]
    assert standings == expected
    marker = len(folder.read(f"trials/{TRIAL}/commits/000000000096.json"))
    assert found[0].size == sum(part.size for part in first.parts) + marker
    assert (found[1].size, found[2].size) == (7, 7)
    assert found[4].size == sum(part.size for part in damaged.parts)
    assert [store.address(saved) for saved in found] == [
        f"{uri}/trials/{TRIAL}/a{attempt:04d}/{images:012d}" for images, attempt, _ in standings
    ]
    assert store.address(found[3]) == store.address(last)


def test_what_is_discarded_is_gone_and_nothing_else(uri: str) -> None:
    store, folder = Store(uri), Folder(uri)
    write(store, images=96)
    last = write(store, images=480, attempt=2)
    folder.put(f"trials/{TRIAL}/a0001/000000000480/model.safetensors", b"lost")
    folder.put(f"trials/{TRIAL}/a0001/samples-96-ab.png", b"png")
    first, leftover, kept = store.saved(TRIAL)
    for saved in (first, leftover, first, leftover):
        store.discard(saved)
    assert store.saved(TRIAL) == [kept]
    assert store.latest(TRIAL, most_images=480) == last
    assert store.read(last).state == {"images": 480}
    assert folder.read(f"trials/{TRIAL}/a0001/samples-96-ab.png") == b"png"


def test_what_was_committed_since_it_was_listed_is_not_discarded(uri: str) -> None:
    store = Store(uri)
    commit = write(store, images=96)
    marker = f"trials/{TRIAL}/commits/000000000096.json"
    content = Folder(uri).read(marker)
    Folder(uri).remove(marker)
    [leftover] = store.saved(TRIAL)
    assert leftover.standing == "uncommitted"
    assert Folder(uri).create(marker, content)
    store.discard(leftover)
    assert store.latest(TRIAL, most_images=96) == commit
    assert store.read(commit).state == {"images": 96}
