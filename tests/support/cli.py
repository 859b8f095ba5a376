"""The command line as a user runs it: a process of its own, with a home of its own."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

DEADLINE_S = 480.0
RAY = {"RAY_worker_niceness": "0", "RAY_gcs_server_request_timeout_seconds": "240"}
"""For a cluster beside another test on two cores: Ray's workers have niceness 15 otherwise, and its patience is short."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a command finds: an empty HOME and none of the caller's settings."""
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG", "SSL_CERT_FILE") if key in os.environ}
    return {**kept, **RAY, "HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "160", **more}


def jit_sweep(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "jit_sweep", *arguments],
        cwd=cwd,
        env=environment(cwd, **more),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )


def rows_of(*arguments: str, cwd: Path, **more: str) -> list[dict[str, Any]]:
    """The rows of a command's `--json`."""
    done = jit_sweep(*arguments, "--json", cwd=cwd, **more)
    assert done.stdout, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


class Running:
    """A command under way, in a process group of its own."""

    def __init__(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jit_sweep", *arguments],
            cwd=cwd,
            env={**environment(cwd), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def until(self, condition: Callable[[str], bool]) -> None:
        """Read what it says until that fulfils a condition."""
        assert self.process.stdout
        deadline = time.monotonic() + DEADLINE_S
        while not condition(self.said):
            assert time.monotonic() < deadline, self.said
            if select.select([self.process.stdout], [], [], 1)[0]:
                text = os.read(self.process.stdout.fileno(), 65536)
                assert text, f"it ended with {self.process.wait()} after saying:\n{self.said}"
                self.said += text.decode()

    def end(self, kind: signal.Signals) -> int:
        """Send a signal and wait; its exit code."""
        self.process.send_signal(kind)
        return self.wait()

    def wait(self) -> int:
        said, _ = self.process.communicate(timeout=DEADLINE_S)
        self.said += said.decode()
        return self.process.returncode

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
