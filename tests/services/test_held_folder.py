"""A temporary folder is its process's for as long as that lives, whatever pid it has."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jit_sweep.executor.held_folder import held_folder
from tests.support.paths import TOP

HOLD = """
import sys
from pathlib import Path
from jit_sweep.executor.held_folder import held_folder
with held_folder(Path(sys.argv[1]), prefix="ours-") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_live_process_stays_and_that_of_a_killed_one_goes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        with held_folder(tmp_path, prefix="ours-") as own:
            assert own != theirs
            assert (theirs / "file").exists()
        holder.kill()
        holder.wait()
    assert (theirs / "file").exists()
    with held_folder(tmp_path, prefix="ours-"):
        assert not theirs.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_live_process_in_another_pid_namespace_stays(tmp_path: Path) -> None:
    forked = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which(forked[0]) is None or subprocess.run([*forked, "true"], capture_output=True).returncode:
        pytest.skip(f"`{' '.join(forked)}` does not run here: not installed, or not allowed")
    command = [*forked, sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        with held_folder(tmp_path, prefix="ours-"):
            assert (theirs / "file").exists()
        holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_lock_is_nobody_s_and_stays(tmp_path: Path) -> None:
    (tmp_path / "ours-someone").mkdir()
    with held_folder(tmp_path, prefix="ours-"):
        assert (tmp_path / "ours-someone").exists()
