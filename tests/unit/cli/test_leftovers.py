"""What a command leaves behind when it ends."""

import gc
import os
from pathlib import Path

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from tests.support.cli import jit_sweep


def test_a_ledger_is_one_whole_file_once_a_command_has_read_it(tmp_path: Path) -> None:
    open_engine(uri := f"sqlite:///{tmp_path}/ledger.db").dispose()
    done = jit_sweep("status", "--ledger", uri, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


def test_a_ledger_that_is_opened_again_and_again_keeps_no_file_open(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/ledger.db"
    open_engine(uri).dispose()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert LedgerReader(open_engine(uri)).sweeps() == []
    gc.collect()  # an engine and its pool know each other
    assert len(os.listdir("/proc/self/fd")) <= before
