"""Every legal path works in every place that takes one, and nothing is written beside it: a table of kinds and places."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jit_sweep.errors import UserError
from jit_sweep.home import Home, Locations, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.spec.data import FileData
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.spec.uri import located, sqlite_path, sqlite_uri
from jit_sweep.tracking import check
from jit_sweep.tracking.client import ensure_experiment, open_client
from jit_sweep.tracking.registry import Registry, load
from tests.support.sweep_files import tiny_sweep
from trainables.data import describe
from trainables.storage.address import local_path
from trainables.storage.folder import Folder, open_file, put_file

KINDS = {
    "blanks": "a b ",
    "percent": "a%2Fb%20c",
    "question": "a?key=1&b",
    "fragment": "a#b",
    "chain": "a::s3::b",
    "quotes": "a'b\"c",
    "newline": "a\nb\tc",
    "other letters": "ä 日本",
    "backslash": "a\\b",
    "colon": "s3:",
    "tilde": "~nobody",
    "brackets": "[x]{y}*",
    "user": "u:p@h",
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of this kind, alone in its parent."""
    folder = tmp_path / "parent" / str(request.param)
    folder.mkdir(parents=True)
    return folder


def put_and_read(address: str) -> None:
    folder = Folder(address)
    folder.put("deep/file", b"content")
    assert (folder.read("deep/file"), folder.names("deep"), folder.sizes("deep")) == (b"content", ["file"], {"file": 7})
    with open_file(folder.address("deep/file")) as file:
        assert file.read() == b"content"


def use_as_storage(place: Path) -> None:
    put_and_read(located(str(place)))
    put_and_read(place.as_uri())


def use_as_ledger(place: Path) -> None:
    file = place / "own.db"
    uri = SweepSpec.model_validate(tiny_sweep(ledger=located(sqlite_uri(file)))).ledger
    assert uri is not None
    open_engine(uri).dispose()
    assert LedgerReader.open(uri).sweeps() == []
    assert (sqlite_path(uri), file.is_file()) == (file, True)


def use_as_data(place: Path) -> None:
    file = place / "own.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(file, images=pixels)
    for address in (str(file), file.as_uri()):
        assert describe(FileData(uri=address).located().address, holdout=2).train_count == 10


def use_as_home(place: Path) -> None:
    home = home_at(place)
    home.make()
    open_engine(home.ledger).dispose()
    assert home.existing_ledger(None) == home.ledger
    assert (place / "ledger.db").is_file()


@pytest.mark.parametrize("use", [use_as_storage, use_as_ledger, use_as_data, use_as_home])
def test_a_path_of_any_kind_works_in_any_place(use: Callable[[Path], None], place: Path) -> None:
    use(place)
    assert list(place.parent.iterdir()) == [place]


def test_mlflow_keeps_database_and_files_below_a_path_of_any_kind(empty_mlflow: Path, place: Path) -> None:
    home = home_at(place)
    shutil.copy(empty_mlflow, place / "mlflow.db")
    check.check(home.tracking)
    keep_a_champion(home.locations(), files=make_files(place.parent.parent))
    assert (load("m", tracking_uri=home.tracking, folder=place.parent.parent / "copy") / "file").read_text() == "weights"
    assert list(home.store.glob("mlflow/*/artifacts/champion/file"))
    assert list(place.parent.iterdir()) == [place]


def make_files(folder: Path) -> Path:
    files = folder / "files"
    files.mkdir()
    (files / "file").write_text("weights")
    return files


def keep_a_champion(locations: Locations, *, files: Path) -> None:
    client = open_client(locations.tracking)
    run = client.create_run(ensure_experiment(client, artifacts=locations.artifacts))
    registry, where = Registry(locations.tracking), {"run_id": run.info.run_id, "path": "champion"}
    registry.make_champion("m", **where, files=files, tags={}, page="", standing=registry.standing("m"))


def test_a_relative_path_means_the_folder_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "a%2Fb"
    start.mkdir()
    monkeypatch.chdir(start)
    assert home_at(Path("home")) == Home(start / "home")
    assert located("store") == str(start / "store")
    assert sqlite_path(located("sqlite:///x y.db?timeout=5")) == start / "x y.db"
    assert located("sqlite:///x y.db?timeout=5").endswith("?timeout=5")
    put_file("file", b"content")
    assert (start / "file").read_bytes() == b"content"


@pytest.mark.parametrize("use", [use_as_storage, use_as_ledger, use_as_data, use_as_home])
def test_a_symbolic_link_is_followed_and_stays(use: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    use(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert list((tmp_path / "real").iterdir())


@pytest.mark.parametrize("uri", ["s3://bucket/a::b", "simplecache::s3://bucket/x", "http://host/x?y"])
def test_a_uri_of_another_protocol_is_no_path(uri: str) -> None:
    assert local_path(uri) is None


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("/a\0b", "must be UTF-8 without a NUL"),
        (os.fsdecode(b"/a\xff"), "must be UTF-8 without a NUL"),
        ("~nobody-of-this-name/x", "must name a user of this machine"),
        ("file://host/x", "must be file:///ABSOLUTE/PATH"),
        ("file:x", "must be file:///ABSOLUTE/PATH"),
        ("file:///x#y", "%23 for #"),
        ("file:///x?y", "%3F for \\?"),
    ],
)
def test_what_is_no_path_is_refused_by_name(address: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        local_path(address)


@pytest.mark.parametrize(("address", "rule"), [("/a\0b", "without a NUL"), ("file:x", "must be file:///ABSOLUTE/PATH")])
def test_a_sweep_file_s_addresses_are_refused_by_the_same_rule(address: str, rule: str) -> None:
    for key in ("storage", "data"):
        with pytest.raises(ValueError, match=rule):
            SweepSpec.model_validate(tiny_sweep(**{key: {"uri": address} if key == "data" else address}))


def test_a_home_that_no_folder_can_have_is_refused() -> None:
    with pytest.raises(UserError, match="--home: a path that begins with ~ must name a user"):
        home_at(Path("~nobody-of-this-name/home"))
