"""A storage for Ray Tune's and Ray Train's own files that keeps nothing: nothing is ever restored but from the ledger.

A folder may be on a full disk, and a bucket away for minutes; here a lane would die of it, with a trial that needs neither.
"""

import io
from typing import Any

import pyarrow
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType, PyFileSystem

from jit_sweep.executor.ray_internals import EXPERIMENT_STATE, STORAGE_MARKER

PATH = "nowhere"
"""Where Ray believes its files to be."""


class _Nowhere(FileSystemHandler):
    """Takes every file, and has two: that by which Ray sees whether a node reaches the storage, and in every folder the
    state of an experiment without trials, without which Tune does not end."""

    def get_type_name(self) -> str:
        return "nowhere"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [FileInfo(path, FileType.File if _is_marker(path) else FileType.NotFound) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        return [FileInfo(f"{selector.base_dir}/{EXPERIMENT_STATE}", FileType.File)]

    def open_output_stream(self, path: str, metadata: dict[str, str]) -> pyarrow.NativeFile:
        return pyarrow.PythonFile(io.BytesIO(), mode="w")

    open_append_stream = open_output_stream

    def open_input_stream(self, path: str) -> pyarrow.NativeFile:
        if not path.endswith(EXPERIMENT_STATE):
            raise FileNotFoundError(path)
        return pyarrow.PythonFile(io.BytesIO(b'{"trial_data": []}'), mode="r")

    open_input_file = open_input_stream

    def create_dir(self, path: str, recursive: bool) -> None: ...

    def delete_dir(self, path: str) -> None: ...

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None: ...

    def delete_root_dir_contents(self) -> None: ...

    def delete_file(self, path: str) -> None: ...

    def move(self, src: str, dest: str) -> None: ...

    def copy_file(self, src: str, dest: str) -> None: ...


def _is_marker(path: str) -> bool:
    return path.endswith(STORAGE_MARKER)


def nowhere() -> dict[str, Any]:
    """Arguments of Tune's and Train's `RunConfig`."""
    return {"storage_path": PATH, "storage_filesystem": PyFileSystem(_Nowhere())}
