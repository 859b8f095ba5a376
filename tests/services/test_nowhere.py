"""The storage that Ray's own files go to keeps nothing and refuses nothing."""

import pickle
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileType, LocalFileSystem, copy_files
from ray import tune
from ray.train import RunConfig
from ray.train._internal.storage import StorageContext

from jit_sweep.executor.nowhere import nowhere


def test_what_is_written_is_gone_and_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(100_000))
    storage = nowhere()["storage_filesystem"]
    copy_files(str(tmp_path), "nowhere/x", source_filesystem=LocalFileSystem(), destination_filesystem=storage)
    assert storage.get_file_info("nowhere/x/a/file").type == FileType.NotFound
    with pytest.raises(FileNotFoundError):
        storage.open_input_stream("nowhere/x/a/file")
    for path in ("nowhere/x", "nowhere/never"):
        storage.delete_dir(path)


def test_every_process_s_check_of_the_storage_holds() -> None:
    context = StorageContext(experiment_dir_name="sweep", **nowhere())
    pickle.loads(pickle.dumps(context))._check_validation_file()


def test_tune_and_train_take_it() -> None:
    for config in (tune.RunConfig(name="sweep", **nowhere()), RunConfig(name="lane", **nowhere())):
        assert config.storage_filesystem is not None
        assert config.storage_filesystem.get_file_info(FileSelector("nowhere/sweep"))[0].type == FileType.File
