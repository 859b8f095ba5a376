"""Storage on a real S3 server, that answers, refuses, freezes and dies."""

import asyncio
import errno
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import s3fs
import torch
from botocore.exceptions import ClientError, ReadTimeoutError
from fsspec.asyn import get_loop
from s3fs.errors import translate_boto_error

from tests.support.s3 import BUCKET, S3Server
from trainables.storage.checkpoint import Commit, Store
from trainables.storage.folder import Folder, open_file
from trainables.storage.remote import Patience, passes, precondition_failed

TRIAL = "0123456789ab"
SHORT = Patience(base_s=0.5, tries=2, pause_s=0.1)
"""For servers that will not answer."""
LONG = Patience(tries=8, pause_s=0.5)
"""For servers that will answer again."""


@pytest.fixture
def uri(s3: S3Server) -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def frozen(s3: S3Server) -> Iterator[S3Server]:
    s3.freeze()
    yield s3
    s3.thaw()


@pytest.fixture
def mortal(s3: S3Server) -> Iterator[S3Server]:
    """A server that the test may kill."""
    yield s3
    if s3.process is None:
        s3.start()


def tensors(value: float, *, size: int = 24) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((size,), value)}, "ema": {"w": torch.full((size,), value / 3)}}


def write(store: Store, *, images: int, attempt: int = 1, value: float = 0.0, size: int = 24) -> Commit:
    return store.write(TRIAL, attempt=attempt, images=images, tensors=tensors(value, size=size), state={"images": images})


def test_a_folder_holds_what_was_put_there(uri: str) -> None:
    folder = Folder(uri)
    folder.put("deep/one", b"1")
    folder.put("deep/one", b"one")
    folder.put("deep/empty", b"")
    folder.put("deep/er/two", b"22")
    assert (folder.read("deep/one"), folder.read("deep/empty")) == (b"one", b"")
    assert Folder(uri).names("deep") == ["empty", "one"]
    assert folder.sizes("deep") == {"empty": 0, "er/two": 2, "one": 3}
    folder.remove_folder("deep")
    assert (folder.names("deep"), folder.sizes("deep")) == ([], {"er/two": 2})
    folder.remove("deep/never")
    with pytest.raises(FileNotFoundError, match=f"nothing at {uri}/deep/one") as caught:
        folder.read("deep/one")
    assert caught.value.errno == errno.ENOENT


def test_of_many_who_create_a_name_one_wins_and_its_content_stays(uri: str) -> None:
    start = Barrier(16)

    def race(number: int) -> bool:
        folder = Folder(uri)
        start.wait()
        return folder.create("marker", str(number).encode())

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    assert sum(won) == 1
    assert Folder(uri).read("marker") == str(won.index(True)).encode()


def test_a_name_that_holds_our_own_content_was_created_by_us_though_the_answer_was_lost(uri: str) -> None:
    folder = Folder(uri)
    assert folder.create("marker", b"ours")
    assert folder.create("marker", b"ours")
    assert not folder.create("marker", b"theirs")
    assert folder.read("marker") == b"ours"


def answer(code: str, status: int, **more: str) -> Exception:
    """What s3fs makes of a server's refusal."""
    response: Any = {"Error": {"Code": code, "Message": code, **more}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = translate_boto_error(ClientError(response, "PutObject"))
    return error


def test_this_server_refuses_a_second_creation_in_its_own_words_and_amazon_s_are_known_too(s3: S3Server, uri: str) -> None:
    fs = s3fs.S3FileSystem()
    fs.pipe_file(f"{uri}/marker", b"1", mode="create")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at below
        fs.pipe_file(f"{uri}/marker", b"2", mode="create")
    assert caught.value.errno == errno.EINVAL
    assert precondition_failed(caught.value)
    assert isinstance(answer("PreconditionFailed", 412, Condition="If-None-Match"), FileExistsError)
    assert not precondition_failed(answer("InvalidArgument", 400))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (answer("InternalError", 500), True),
        (answer("SlowDown", 503), True),
        (answer("RequestTimeout", 400), True),
        (answer("ConditionalRequestConflict", 409), True),
        (answer("AccessDenied", 403), False),
        (answer("NoSuchBucket", 404), False),
        (answer("InvalidArgument", 400), False),
        (ReadTimeoutError(endpoint_url="http://s3"), True),
        (ConnectionResetError(), True),
        (OSError(errno.ENOSPC, "full"), False),
    ],
    ids=repr,
)
def test_only_what_passes_by_itself_is_tried_again(error: Exception, *, again: bool) -> None:
    assert passes(error) is again


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_one_clear_error_at_the_first_try(
    s3: S3Server, uri: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(wrong, "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    folder = Folder(uri)
    calls: list[Callable[[], object]] = [
        lambda: folder.put("x", b""),
        lambda: folder.create("x", b""),
        lambda: folder.read("x"),
        lambda: folder.names("x"),
        lambda: folder.sizes("x"),
    ]
    for call in calls:
        with pytest.raises(PermissionError, match=rf"reachable with the credentials .* {uri}/x .*tried once.*AWS_") as caught:
            call()
        assert caught.value.errno == errno.EACCES


def test_a_frozen_server_is_an_error_by_the_deadline_and_works_again_once_it_answers(s3: S3Server, uri: str) -> None:
    folder = Folder(uri, patience=SHORT)
    folder.put("x", b"1")
    s3.freeze()
    try:
        calls: list[Callable[[], object]] = [
            lambda: folder.read("x"),
            lambda: folder.put("x", b"2"),
            lambda: folder.create("new", b"3"),
            lambda: folder.names("x"),
            lambda: folder.sizes("x"),
            lambda: folder.remove("y"),
        ]
        for call in calls:
            with pytest.raises(TimeoutError, match=rf"no answer in time for {uri}/.*tried 2 times in [\d.]+ s"):
                call()
    finally:
        s3.thaw()
    again = Folder(uri, patience=LONG)
    again.put("x", b"4")
    assert again.read("x") == b"4"


def test_a_call_that_was_given_up_holds_no_connection(frozen: S3Server, uri: str) -> None:
    folder = Folder(uri, patience=Patience(base_s=0.5, tries=1))
    loop = get_loop()
    before = len(asyncio.all_tasks(loop))
    with pytest.raises(TimeoutError):
        folder.read("x")
    asyncio.run_coroutine_threadsafe(settled(before), loop).result(timeout=30)


async def settled(count: int) -> None:
    """Wait until no more than `count` other tasks are left."""
    while len(asyncio.all_tasks()) > count + 1:
        await asyncio.sleep(0)


def test_a_deadline_grows_with_the_bytes() -> None:
    patience = Patience(base_s=2.0, least_bytes_per_s=100.0)
    assert (patience.deadline_s(0), patience.deadline_s(1000)) == (2.0, 12.0)


HANGING = """
from trainables.storage.remote import Patience
from trainables.storage.folder import Folder
try:
    Folder({uri!r}, patience=Patience(base_s=0.5, tries=1)).read("x")
except TimeoutError:
    print("gave up")
"""


def test_a_process_ends_though_its_call_still_hangs(frozen: S3Server, uri: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(uri=uri)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "gave up\n"


def test_a_server_that_was_killed_has_everything_it_acknowledged_when_it_is_back(mortal: S3Server, uri: str) -> None:
    folder = Folder(uri, patience=SHORT)
    for number in range(20):
        assert folder.create(f"{number:02d}", str(number).encode())
    mortal.kill()
    with pytest.raises(OSError, match=f"reachable .* {uri}/00"):
        folder.read("00")
    mortal.start()
    again = Folder(uri, patience=LONG)
    assert [int(again.read(f"{number:02d}")) for number in range(20)] == list(range(20))
    again.put("new", b"x")
    assert again.read("new") == b"x"


def test_a_call_outlasts_a_server_that_is_away_for_a_moment(mortal: S3Server, uri: str) -> None:
    Folder(uri).put("x", b"1")
    mortal.kill()
    back = Thread(target=mortal.start)
    back.start()
    assert Folder(uri, patience=LONG).read("x") == b"1"
    back.join()


def test_checkpoints_live_on_s3(uri: str) -> None:
    store = Store(uri)
    assert store.latest(TRIAL, most_images=1000) is None
    first, last = write(store, images=96, value=1.0), write(store, images=480, value=2.0)
    assert write(Store(uri), images=96, attempt=2, value=9.0) == first
    assert Store(uri).latest(TRIAL, most_images=1000) == last
    read = Store(uri).read(last)
    assert read.state == {"images": 480}
    assert read.tensors["ema"]["w"].equal(tensors(2.0)["ema"]["w"])
    store.remove(last)
    assert store.latest(TRIAL, most_images=1000) == first
    assert [saved.images for saved in store.saved(TRIAL)] == [96]


def test_a_race_of_attempts_on_s3_has_one_winner_and_leaves_nothing_of_the_others(uri: str) -> None:
    start = Barrier(6)

    def race(attempt: int) -> Commit:
        store = Store(uri)
        start.wait()
        return write(store, images=96, attempt=attempt, value=attempt)

    with ThreadPoolExecutor(6) as pool:
        commits = list(pool.map(race, range(1, 7)))
    assert commits == [commits[0]] * 6
    assert [(saved.attempt, saved.standing) for saved in Store(uri).saved(TRIAL)] == [(commits[0].attempt, "committed")]
    assert Store(uri).read(commits[0]).tensors["model"]["w"].equal(tensors(commits[0].attempt)["model"]["w"])


def test_a_server_that_dies_in_mid_write_leaves_nothing_half_committed(mortal: S3Server, uri: str) -> None:
    first = write(Store(uri), images=96)
    parts_on_their_way = Folder(uri)
    failed: list[BaseException] = []

    def write_more() -> None:
        try:
            for images in range(192, 96 * 1000, 96):
                write(Store(uri, patience=SHORT), images=images, value=images, size=200_000)
        except OSError as error:
            failed.append(error)

    writer = Thread(target=write_more)
    writer.start()
    while not parts_on_their_way.names(f"trials/{TRIAL}/a0001/{192:012d}"):
        assert writer.is_alive()
    mortal.kill()
    writer.join()
    assert failed, "the writer must have met the dead server"
    mortal.start()
    store = Store(uri, patience=LONG)
    last = store.latest(TRIAL, most_images=10**9)
    assert last is not None
    for saved in store.saved(TRIAL):
        commit = store.latest(TRIAL, most_images=saved.images)
        if saved.standing == "committed":
            assert commit is not None
            assert store.read(commit).state == {"images": saved.images}
    assert store.read(first).state == {"images": 96}
    assert write(store, images=10**8, attempt=2) == store.latest(TRIAL, most_images=10**9)


def test_a_large_file_is_read_in_pieces_wherever_one_looks(uri: str) -> None:
    content = np.random.default_rng(0).bytes(20 * 2**20)
    Folder(uri).put("large", content)
    with open_file(f"{uri}/large") as file:
        file.seek(-10, 2)
        assert file.read() == content[-10:]
        file.seek(9 * 2**20)
        assert file.read(5) == content[9 * 2**20 : 9 * 2**20 + 5]
        file.seek(0)
        assert file.read() == content
        assert file.read(1) == b""


def test_an_npz_is_read_from_s3(uri: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.arange(10**6), labels=np.arange(3))
    Folder(uri).put("a.npz", (tmp_path / "a.npz").read_bytes())
    with open_file(f"{uri}/a.npz") as file, np.load(file) as archive:
        assert archive["images"].sum() == np.arange(10**6).sum()
        assert archive["labels"].tolist() == [0, 1, 2]


def test_reading_from_a_frozen_server_ends_with_the_address(s3: S3Server, uri: str) -> None:
    Folder(uri).put("large", bytes(20 * 2**20))
    with open_file(f"{uri}/large", patience=SHORT) as file:
        file.read(1)
        s3.freeze()
        try:
            file.seek(15 * 2**20)
            with pytest.raises(TimeoutError, match=f"no answer in time for {uri}/large"):
                file.read(1)
        finally:
            s3.thaw()
