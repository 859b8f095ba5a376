"""A real Ray head of our own on the loopback interface: own home, own short temporary folder, token authentication on."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from tests.support.cli import RAY
from tests.support.ports import free_ports

START_TIMEOUT_S = 180.0
END_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Head:
    """A running head node."""

    url: str
    """The dashboard and its Jobs API."""
    address: str
    """What `ray.init(address=...)` and `run --address` take."""
    token: str
    """Empty on an open head."""
    home: Path
    """HOME of every process of the cluster, and the mark by which they are known."""

    @property
    def client_env(self) -> dict[str, str]:
        """What a client adds to its environment to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token} if self.token else {"RAY_AUTH_MODE": "disabled"}

    def call(self, path: str, *, method: str = "GET") -> Any:
        """The JSON that the dashboard answers. HTTPError: it refuses."""
        request = Request(f"{self.url}{path}", method=method, headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def jobs(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """The submitted jobs whose names begin so."""
        found = {job["submission_id"]: job for job in self.call("/api/jobs/") if job["submission_id"]}
        return {name: job for name, job in found.items() if name.startswith(prefix)}

    def processes(self) -> list[psutil.Process]:
        """Every process of this cluster, its jobs' included, by the home they inherited."""
        return [process for process in psutil.process_iter() if _home_of(process) == str(self.home)]


@contextmanager
def running_head(
    more: Mapping[str, str] | None = None, *, cpus: int = 2, token: bool = True, ip: str = "127.0.0.1"
) -> Iterator[Head]:
    """A head until the end of the block, started in a folder where somebody else's package has the name of one of ours.

    `more` is added to its environment.
    """
    # Ray's sockets lie below its temporary folder, and a socket's path has at most 107 characters.
    with TemporaryDirectory(prefix="jsw-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        gcs, dashboard, client = free_ports(3)
        head = Head(
            url=f"http://127.0.0.1:{dashboard}",
            address=f"{ip}:{gcs}",
            token=secrets.token_hex(16) if token else "",
            home=folder / "home",
        )
        head.home.mkdir()
        (folder / "trainables.py").write_text("raise ImportError('this is not the trainables you are looking for')")
        process = _start(head, folder, ports=(gcs, dashboard, client), cpus=cpus, more=more or {})
        try:
            _wait_until_up(head, process, log=folder / "start.log")
            yield head
        finally:
            _end(head, process)


def _start(
    head: Head, folder: Path, *, ports: tuple[int, int, int], cpus: int, more: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    gcs, dashboard, client = ports
    options = {
        "node-ip-address": head.address.rpartition(":")[0],
        "port": gcs,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "ray-client-server-port": client,
        "dashboard-agent-listen-port": 0,
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": folder / "ray",
        "num-cpus": cpus,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {
        "HOME": str(head.home),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        **RAY,
        **head.client_env,
        **more,
    }
    with (folder / "start.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def _wait_until_up(head: Head, process: subprocess.Popen[bytes], *, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            head.jobs()
            return
        except (HTTPError, URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the head did not come up:\n{log.read_text()}") from None
        time.sleep(0.1)


def _end(head: Head, process: subprocess.Popen[bytes]) -> None:
    """End this head's processes and no other's, at once: SIGTERM would drain the node for half a minute."""
    process.kill()
    process.wait()
    deadline = time.monotonic() + END_TIMEOUT_S
    while (left := head.processes()) and time.monotonic() < deadline:
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, timeout=1)


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except psutil.Error:
        return None
