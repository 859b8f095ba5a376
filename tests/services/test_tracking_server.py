"""A real MLflow server: started as `ui` starts it, away at first, and gone with the command that started it."""

import json
import logging
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.tracking import check, server
from jit_sweep.tracking.mirror import Mirror, MirrorThread
from jit_sweep.tracking.registry import Registry, load
from jit_sweep.tracking.translation import variant
from tests.support.ledger import BOB, OBJECTIVE, LedgerFixture, planned
from tests.support.mlflow import MlflowStore

COMMAND = """
import json, sys
from jit_sweep.tracking import server

serving = server.serve(sys.argv[1], artifacts=sys.argv[2], port=int(sys.argv[3]))
print("answer", json.dumps(serving.url), flush=True)
for sweep in sys.stdin:
    print("answer", json.dumps(serving.links(sweep.strip() or None)), flush=True)
"""
ENTRY = planned(arm={"prediction": "x"})


@dataclass
class Served:
    """A sweep whose server came up only after its first deliveries had failed."""

    ledger: LedgerFixture
    url: str
    runs: MlflowStore
    undelivered: int
    command: subprocess.Popen[str]

    def links(self, sweep: str) -> list[str]:
        """What the command that serves says."""
        assert self.command.stdin is not None
        self.command.stdin.write(f"{sweep}\n")
        self.command.stdin.flush()
        found = answer(self.command)
        assert isinstance(found, list)
        return found


class Failures(logging.Handler):
    """Notes that a warning was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.set()


def answer(command: subprocess.Popen[str]) -> object:
    """The command's next own line; MLflow's server writes to the same output."""
    assert command.stdout is not None
    return next(json.loads(line.removeprefix("answer")) for line in command.stdout if line.startswith("answer"))


@pytest.fixture(scope="module")
def served(empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, artifacts = f"http://127.0.0.1:{port}", str(folder / "artifacts")
    ledger = LedgerFixture(open_engine(f"sqlite:///{folder / 'ledger.db'}"))
    thread = MirrorThread(Mirror(url, ledger.reader, ledger.name), interval_s=0.1)
    failures, log = Failures(), logging.getLogger("jit_sweep.tracking.mirror")
    log.addHandler(failures)
    thread.start()
    ledger.train(ENTRY, {OBJECTIVE: 1.0})
    assert failures.seen.wait(30.0)
    log.removeHandler(failures)
    arguments = [sys.executable, "-c", COMMAND, f"sqlite:///{folder / 'mlflow.db'}", artifacts, str(port)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as command:
        try:
            assert answer(command) == url
            yield Served(ledger, url, MlflowStore(url, artifacts), thread.close(60.0), command)
        finally:
            command.kill()


def test_an_outage_delays_the_view_and_loses_nothing(served: Served) -> None:
    assert served.undelivered == 0
    (run,) = served.runs.runs("trial")
    assert run.data.metrics[OBJECTIVE] == 1.0


def test_a_run_whose_making_got_no_reply_is_found_and_not_made_again(served: Served) -> None:
    other = LedgerFixture(served.ledger.engine, name="other", owner=BOB)
    other.train(planned(arm={"prediction": "v"}), {OBJECTIVE: 2.0})
    with losing_replies(served.url, to="runs/create") as url:
        mirror = Mirror(url, other.reader, other.name)
        for _ in ("the sweep's run", "the trial's run"):
            with pytest.raises(MlflowException):
                mirror.deliver()
        assert mirror.deliver() == len(other.events())
    made = [run.data.tags["sweep"] for kind in ("sweep", "trial") for run in served.runs.runs(kind)]
    assert made.count("other") == 2


@contextmanager
def losing_replies(server_url: str, *, to: str) -> Iterator[str]:
    """The address of a proxy that passes everything on, but not the replies to one kind of request."""

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{server_url}{self.path}", body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    status, content = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, content = error.code, error.read()
            if to in self.path:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def test_a_server_that_answers_passes_the_check(served: Served) -> None:
    check.check(served.url)


def test_a_champion_s_files_come_back_over_http(served: Served, tmp_path: Path) -> None:
    registry = Registry(served.url)
    facts = registry.trial(served.ledger.reader.sweep("mine"), variant(served.ledger.row(ENTRY)))
    assert facts is not None
    files, copy = tmp_path / "files", tmp_path / "copy"
    files.mkdir()
    (files / "scores.json").write_text("{}")
    before = registry.standing("demo")
    files_of: dict[str, Any] = {"run_id": facts.run_id, "path": "champion/demo/1", "files": files}
    made = registry.make_champion("demo", **files_of, tags={"trial": "t"}, page="how good", standing=before)
    champion = registry.standing("demo").champion
    assert (before.champion, made.number, champion and champion.number) == (None, 1, 1)
    assert [file.name for file in load("demo", tracking_uri=served.url, folder=copy).iterdir()] == ["scores.json"]


def test_a_sweep_s_links_open_its_runs_ordered_as_its_objective_wants(served: Served) -> None:
    table, charts = served.links("mine")
    assert table.startswith(f"{served.url}/#/experiments/1/runs?workflowType=machine_learning&searchFilter=tags.sweep")
    assert f"orderByKey=metrics.%60{OBJECTIVE}%60&orderByAsc=true" in table
    assert charts.replace("%20and%20tags.trial%20LIKE%20%22%25%22", "") == f"{table}&compareRunsMode=CHART"


def test_without_a_sweep_there_is_one_link_to_all_runs(served: Served) -> None:
    assert served.links("") == [f"{served.url}/#/experiments/1/runs?workflowType=machine_learning"]
    assert served.links("unknown") == []


def test_a_taken_port_is_said_before_a_server_is_started(served: Served, store: MlflowStore) -> None:
    port = int(served.url.rpartition(":")[2])
    with pytest.raises(UserError, match=rf"`--port` must be free, got {port}"):
        server.serve(store.uri, artifacts=store.artifacts, port=port)


@pytest.mark.timeout(180)
def test_closing_ends_every_process_that_the_server_started(store: MlflowStore) -> None:
    arguments = ["sh", "-c", "sleep 600 & wait"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True) as process:
        with server.Serving("http://127.0.0.1", process, store.uri):
            assert process.poll() is None
        assert process.stdout is not None
        assert process.stdout.read() == b""


@pytest.mark.timeout(180)
def test_the_server_ends_with_a_command_that_is_killed(served: Served) -> None:
    """Every process of the server holds the command's standard output open for as long as it lives."""
    served.command.kill()
    assert served.command.stdout is not None
    served.command.stdout.read()
