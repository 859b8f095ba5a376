"""What a command leaves behind when it ends."""

from pathlib import Path

from jit_sweep.ledger.connect import open_engine
from tests.support.cli import jit_sweep


def test_a_ledger_is_one_whole_file_once_a_command_has_read_it(tmp_path: Path) -> None:
    open_engine(uri := f"sqlite:///{tmp_path}/ledger.db").dispose()
    done = jit_sweep("status", "--ledger", uri, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]
