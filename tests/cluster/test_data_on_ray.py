"""Preparation by Ray Data on a cluster: the set that one process makes, whatever the number of workers."""

from pathlib import Path

from tests.support.cli import rows_of
from tests.support.ray_head import Head
from tests.support.sources import Drawn, looked_at, write_folder
from trainables.data.prepared.preparing import prepare


def test_a_cluster_prepares_what_one_process_prepares(head: Head, tmp_path: Path) -> None:
    top = write_folder(tmp_path / "photos", Drawn())
    here = prepare(looked_at(top), str(tmp_path / "here"))
    command = ["data", "prepare", "photos", "there", "--size", "8", "--holdout", "4", "--address", head.address]
    (there,) = rows_of(*command, cwd=tmp_path, **head.client_env)
    assert (there["digest"], there["count"]) == (here.digest, 24)
