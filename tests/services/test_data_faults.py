"""Stores that hang, refuse or lack what is asked for, at the commands that read and write images: one line each, in time."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs

from tests.support.ports import free_ports
from tests.support.s3 import BUCKET, S3Server
from tests.support.sources import Drawn, write_folder
from tests.support.sweep_files import write_sweep
from trainables.storage.remote import PATIENCE

DATA = Path(__file__).parents[2] / "docs" / "data.md"
SET = ("--size", "8", "--holdout", "4")
Fault = Callable[[S3Server, pytest.MonkeyPatch], str]
"""Brings a fault about; returns the bucket to ask for."""


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers: the kernel accepts for who only listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up as always, but soon."""
    for name, seconds in (("base_s", 0.2), ("pause_s", 0.01)):
        monkeypatch.setitem(vars(PATIENCE), name, seconds)


def closed(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    hurry(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    return BUCKET


def wrong_secret(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    return BUCKET


def unknown_key(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    return BUCKET


def wrong_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"{BUCKET}-not"


UNREACHABLE = "must be reachable with the credentials in the environment, got .*; check the endpoint and the AWS_ variables"
NOTHING = "must be a packaged set, or the path or URI of images, got nothing at .*; check the spelling, and your access to it"
FAULTS: dict[str, tuple[Fault, str]] = {
    "closed port": (closed, UNREACHABLE),
    "wrong secret": (wrong_secret, UNREACHABLE),
    "unknown key": (unknown_key, UNREACHABLE),
    "wrong bucket": (wrong_bucket, NOTHING),
}


def commands(top: Path, bucket: str) -> dict[str, tuple[str, ...]]:
    """Every command that reads images from a store."""
    file = write_sweep(top, data={"uri": f"s3://{bucket}/photos", "image_size": 32, "holdout": 16})
    return {
        "inspect": ("data", "inspect", f"s3://{bucket}/photos"),
        "prepare": ("data", "prepare", f"s3://{bucket}/photos", "set", *SET),
        "validate": ("validate", file),
        "plan": ("plan", file),
    }


def told(typed: Any, words: tuple[str, ...], rule: str) -> None:
    """Run a command: it must end with one line that says rule, value and remedy."""
    code, _, said = typed(*words)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert (code, "Traceback" in said, len(errors)) == (2, False, 1), said
    assert re.search(rule, errors[0]), said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_refuses_is_told_in_a_line_by_every_command_that_reads_images(
    fault: str, typed: Any, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bring, rule = FAULTS[fault]
    bucket = bring(s3, monkeypatch)
    s3fs.S3FileSystem.clear_instance_cache()
    for words in commands(tmp_path, bucket).values():
        told(typed, words, rule)


def test_an_endpoint_that_never_answers_is_given_up_with_the_tries_and_seconds(
    typed: Any,
    silent: str,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    hurry(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    s3fs.S3FileSystem.clear_instance_cache()
    rule = r"got no answer in time for s3://sweeps/photos\S* \(info tried 3 times in [\d.]+ s\); check the endpoint"
    for words in commands(tmp_path, BUCKET).values():
        caplog.clear()
        told(typed, words, rule)
        assert caplog.text.count("trying again") == PATIENCE.tries - 1  # there is no second call after the first


def test_a_set_that_a_store_does_not_take_is_told_with_its_place(
    typed: Any, silent: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_folder(tmp_path / "photos", Drawn())
    prepare = ("data", "prepare", "photos")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    s3fs.S3FileSystem.clear_instance_cache()
    told(typed, (*prepare, f"s3://{BUCKET}/set", *SET), rf"must be reachable .* for s3://{BUCKET}/set/prepared-set.json \(info")
    hurry(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    s3fs.S3FileSystem.clear_instance_cache()
    told(
        typed, (*prepare, f"s3://{BUCKET}/set", *SET), rf"got no answer in time for s3://{BUCKET}/set/prepared-set.json \(info"
    )


def test_the_page_says_how_long_a_store_is_waited_for() -> None:
    """A call without content: every try to its deadline, and the pauses between them."""
    pauses = sum(PATIENCE.pause_s * 2**tried for tried in range(PATIENCE.tries - 1))
    assert f"given up after {PATIENCE.tries * PATIENCE.base_s + pauses:.0f} s" in " ".join(DATA.read_text().split())
