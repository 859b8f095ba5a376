"""MLflow's own pages on the project's store, on the loopback interface, for as long as the command that shows them."""

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from jit_sweep.errors import UserError
from jit_sweep.tracking import client as mlflow_client
from jit_sweep.tracking import links
from trainables.evaluation.metrics.registry import metric_of

HOST = "127.0.0.1"
READY_S = 90.0
POLL_S = 0.1
STOP_S = 5.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Serving:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    tracking_uri: str

    def links(self, sweep: str | None = None) -> list[str]:
        """Pages that open on a sweep's runs as a table and as charts; on all runs where no sweep is named."""
        client = mlflow_client.open_client(self.tracking_uri)
        experiment_id = mlflow_client.experiment_id(client)
        if experiment_id is None:
            return []
        if sweep is None:
            return [links.all_runs(self.url, experiment_id=experiment_id)]
        runs = client.search_runs([experiment_id], f"tags.sweep = '{sweep}' and tags.`jit_sweep.kind` = 'sweep'", max_results=1)
        if not runs:
            return []
        objective = runs[0].data.tags["objective"]
        return [
            links.sweep_runs(
                self.url,
                experiment_id=experiment_id,
                sweep=sweep,
                objective=objective,
                ascending=metric_of(objective).direction == "minimize",
                charts=charts,
            )
            for charts in (False, True)
        ]

    def close(self) -> None:
        """End the server and every process it started."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, kind)
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve(tracking_uri: str, *, artifacts: str, port: int) -> Serving:
    """Start a server on a store and wait until it answers; port 0 takes any free one.

    It writes to this process's standard output and error, and ends when this process ends. UserError: the port is taken,
    there is no store, or the server does not come up.
    """
    if tracking_uri.startswith(("http://", "https://")):
        raise UserError(f"a server is already there: open {tracking_uri}")
    mlflow_client.open_client(tracking_uri, create=False)
    port = _free_port(port)
    process = subprocess.Popen(
        _command(artifacts, port=port),
        env={**os.environ, **_environment(tracking_uri)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    serving = Serving(f"http://{HOST}:{port}", process, tracking_uri)
    try:
        _wait_until_ready(process, port=port)
    except BaseException:
        serving.close()
        raise
    return serving


def _command(artifacts: str, *, port: int) -> list[str]:
    own = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return [*own, "--default-artifact-root", artifacts, "--no-serve-artifacts"]


def _environment(tracking_uri: str) -> dict[str, str]:
    # The address may hold a password, and a command line is there for everyone to read.
    return {
        "MLFLOW_BACKEND_STORE_URI": mlflow_client.store_uri(tracking_uri),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            rule = f"`--port` must be free, got {port} ({error.strerror})"
            raise UserError(f"{rule}; end what listens there, or give another (0: any free one)") from None
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], *, port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if _answers(port):
                return
            continue
        raise UserError(f"the MLflow server ended with code {process.returncode} before it answered; its log says why")
    raise UserError(f"the MLflow server must answer within {READY_S:g} s, got nothing; its log says why")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
