"""A real MLflow server: started as `ui` starts it, away at first, and gone with the command that started it."""

import json
import logging
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.tracking import connect, server
from jit_sweep.tracking.mirror import MirrorThread
from jit_sweep.tracking.registry import Registry, load
from jit_sweep.tracking.translation import variant
from tests.desk import OBJECTIVE, Desk, planned
from tests.mlflow_store import MlflowStore, empty_mlflow, store

__all__ = ["empty_mlflow", "store"]

COMMAND = """
import json, sys
from jit_sweep.tracking import server

serving = server.serve(sys.argv[1], artifacts=sys.argv[2], port=int(sys.argv[3]))
print(json.dumps([serving.url, serving.links("mine"), serving.links()]), flush=True)
sys.stdin.read()
"""
ENTRY = planned(arm={"prediction": "x"})


@dataclass
class Served:
    """A sweep whose server came up only after its first deliveries had failed."""

    desk: Desk
    url: str
    runs: MlflowStore
    links: list[list[str]]
    undelivered: int
    command: subprocess.Popen[str]


class Failures(logging.Handler):
    """Notes that a warning was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.set()


@pytest.fixture(scope="module")
def served(empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, artifacts = f"http://127.0.0.1:{port}", str(folder / "artifacts")
    desk = Desk(open_engine(f"sqlite:///{folder / 'ledger.db'}"))
    thread = MirrorThread(url, desk.reader, desk.name, interval_s=0.1)
    failures, log = Failures(), logging.getLogger("jit_sweep.tracking.mirror")
    log.addHandler(failures)
    thread.start()
    desk.train(ENTRY, {OBJECTIVE: 1.0})
    assert failures.seen.wait(30.0)
    log.removeHandler(failures)
    arguments = [sys.executable, "-c", COMMAND, f"sqlite:///{folder / 'mlflow.db'}", artifacts, str(port)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as command:
        try:
            assert command.stdout is not None
            started, *shown = json.loads(command.stdout.readline())
            assert started == url
            yield Served(desk, url, MlflowStore(url, artifacts), shown, thread.close(60.0), command)
        finally:
            command.kill()


def test_an_outage_delays_the_view_and_loses_nothing(served: Served) -> None:
    assert served.undelivered == 0
    (run,) = served.runs.runs("trial")
    assert run.data.metrics[OBJECTIVE] == 1.0


def test_a_server_that_answers_passes_the_check(served: Served) -> None:
    connect.check(served.url)


def test_a_champion_s_files_come_back_over_http(served: Served, tmp_path: Path) -> None:
    registry = Registry(served.url)
    facts = registry.trial(served.desk.reader.sweep("mine"), variant(served.desk.row(ENTRY)))
    assert facts is not None
    files, copy = tmp_path / "files", tmp_path / "copy"
    files.mkdir()
    (files / "scores.json").write_text("{}")
    made = registry.make_champion("demo", run_id=facts.run_id, path="champion/demo/1", files=files, tags={"trial": "t"})
    assert (made.number, registry.champion("demo")) == (1, made)
    assert [file.name for file in load("demo", tracking_uri=served.url, folder=copy).iterdir()] == ["scores.json"]


def test_a_store_s_links_do_not_need_its_server(served: Served) -> None:
    assert served.links == [[], []]


def test_a_taken_port_is_said_before_a_server_is_started(served: Served, store: MlflowStore) -> None:
    port = int(served.url.rpartition(":")[2])
    with pytest.raises(UserError, match=rf"`--port` must be free, got {port}"):
        server.serve(store.uri, artifacts=store.artifacts, port=port)


def test_the_server_ends_with_a_command_that_is_killed(served: Served) -> None:
    """Every process of the server holds the command's standard output open for as long as it lives."""
    served.command.kill()
    assert served.command.stdout is not None
    readable, _, _ = select.select([served.command.stdout], [], [], 30.0)
    assert readable
    assert served.command.stdout.read() == ""
