"""A real MLflow server that dies in the middle of its work: the view is late, then complete, and nothing is in it twice."""

import http.client
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from jit_sweep.executor.outages import Outages, Surrounding
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import AttemptRow
from jit_sweep.plan.entry import Entry
from jit_sweep.tracking import server
from jit_sweep.tracking.mirror import Mirror, MirrorThread
from jit_sweep.tracking.runs import CURSOR
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.mlflow import MlflowStore
from trainables.report import Progress, Report, Rung

X, V = planned(arm={"prediction": "x"}), planned(arm={"prediction": "v"}, position=1)
PAGE_EVENTS = 8
WAIT_S = 120.0


@dataclass
class Server:
    """A server that comes and goes behind one address, on one store."""

    store: MlflowStore
    url: str
    port: int
    running: server.Serving | None = None
    batches_until_death: int | None = None
    """Batches of points that it still answers; it is killed over the next one."""
    dies_after_writing: bool = False
    """That one is written, and only the reply is lost."""

    def start(self) -> None:
        self.running = server.serve(self.store.uri, artifacts=self.store.artifacts, port=self.port)

    def kill(self) -> None:
        """End every process of it at once, as a power cut does."""
        if self.running is not None:
            os.killpg(self.running.process.pid, signal.SIGKILL)
            self.running.process.wait()
            self.running = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What it says to a request; OSError or HTTPException where it is not there, or dies over it."""
        connection = http.client.HTTPConnection(server.HOST, self.port)
        connection.request(method, path, body or None, {"Content-Type": "application/json"})
        last = b'"metrics"' in body and self.batches_until_death == 0
        if b'"metrics"' in body and self.batches_until_death is not None:
            self.batches_until_death -= 1
        if last and not self.dies_after_writing:
            self.kill()
        reply = connection.getresponse()
        content = reply.read()
        if last:
            self.kill()
            raise ConnectionResetError
        return reply.status, content


@contextmanager
def door_to(found: Server) -> Iterator[None]:
    """An address of its own for a server: a request gets no reply where the server gave none."""

    class Door(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, content = found.answer(self.command, self.path, body)
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = pass_on

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((server.HOST, 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        found.url = f"http://{server.HOST}:{door.server_port}"
        yield
        door.shutdown()


@pytest.fixture
def mortal(store: MlflowStore) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind((server.HOST, 0))
        port = probe.getsockname()[1]
    made = Server(store, url="", port=port)
    with door_to(made):
        try:
            yield made
        finally:
            made.kill()


@dataclass
class EventLog:
    """Two trials that train by turns, and every point that MLflow should have of them, in the order it was told."""

    ledger: LedgerFixture
    attempts: dict[str, AttemptRow] = field(default_factory=dict)
    told: list[tuple[str, str, int, float, int]] = field(default_factory=list)
    """Trial, metric, images, value and time in milliseconds of each point."""
    sequence: int = 0

    def begin(self) -> None:
        self.ledger.plan(X, V)
        self.attempts = {entry.trial_id: self.ledger.begin(entry) for entry in (X, V)}

    def train(self, *images: int) -> None:
        for count in images:
            for entry in (X, V):
                self._tell(entry, Progress(images=count, step=count // 48, loss=1 / count, images_per_second=count / 3))
                self._point(entry, count, loss=1 / count, images_per_second=count / 3, flops=0)
                if count % 192 == 0:
                    self._tell(entry, Rung(images=count, values={"heldout_v_error": 2 / count}))
                    self._point(entry, count, **{"rung/heldout_v_error": 2 / count})

    def end(self) -> None:
        for entry in (X, V):
            self._tell(entry, scored(entry, {OBJECTIVE: entry.images / 7}))
            self._point(entry, entry.images, **{OBJECTIVE: entry.images / 7})
            self._tell(entry, ended(entry))

    def _tell(self, entry: Entry, report: Report) -> None:
        self.ledger.clock.now += 1.25
        self.ledger.tell(self.attempts[entry.trial_id], report, first=self.sequence)
        self.sequence += 1

    def _point(self, entry: Entry, images: int, **values: float) -> None:
        at = round(1000 * self.ledger.clock.now)
        self.told += [(entry.trial_id, name, images, value, at) for name, value in values.items()]

    def series(self) -> dict[tuple[str, str], list[tuple[int, float, int]]]:
        """The points by trial and metric."""
        found: dict[tuple[str, str], list[tuple[int, float, int]]] = {}
        for trial, name, images, value, at in self.told:
            found.setdefault((trial, name), []).append((images, value, at))
        return found


@pytest.fixture
def event_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventLog]:
    monkeypatch.setattr("jit_sweep.tracking.mirror.PAGE_EVENTS", PAGE_EVENTS)
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield EventLog(LedgerFixture(engine))
    engine.dispose()


def arrived(found: MlflowStore) -> dict[tuple[str, str], list[tuple[int, float, int]]]:
    """Every point that MLflow has, by trial and metric."""
    runs: list[Run] = found.runs("trial")
    assert len(runs) == len({run.data.tags["trial"] for run in runs})
    return {(run.data.tags["trial"], name): found.series(run, name) for run in runs for name in run.data.metrics}


def assert_a_beginning_of(event_log: EventLog, found: MlflowStore) -> int:
    """What has arrived is the beginning of what was told, and holds all that the cursor says; returns its length."""
    known = arrived(found)
    for key, points in event_log.series().items():
        assert known.get(key, []) == points[: len(known.get(key, []))]
    (sweep,) = found.runs("sweep")
    certain = [event for event in event_log.ledger.events() if event.id <= int(sweep.data.tags[CURSOR])]
    ends = {(event.trial_id, event.data["images"]) for event in certain if event.kind == "progress"}
    begun = {(trial, images) for (trial, name), series in known.items() if name == "loss" for images, _, _ in series}
    assert ends <= begun
    return sum(map(len, known.values()))


def test_a_server_killed_within_a_batch_and_between_two_ends_up_with_every_point_once_and_in_order(
    mortal: Server, event_log: EventLog
) -> None:
    event_log.begin()
    event_log.train(*range(48, 960, 48))
    view = Mirror(mortal.url, event_log.ledger.reader, event_log.ledger.name)
    lengths = []
    for mortal.dies_after_writing in (False, True):
        mortal.start()
        mortal.batches_until_death = 3
        with pytest.raises(MlflowException):
            view.deliver()
        assert mortal.running is None
        lengths.append(assert_a_beginning_of(event_log, mortal.store))
    mortal.batches_until_death = None
    mortal.start()
    assert view.deliver_page() == PAGE_EVENTS
    mortal.kill()
    with pytest.raises(MlflowException):
        view.deliver_page()
    lengths.append(assert_a_beginning_of(event_log, mortal.store))
    event_log.train(960)
    event_log.end()
    mortal.start()
    view.deliver()
    assert 0 < lengths[0] < lengths[1] < lengths[2] < len(event_log.told)
    assert arrived(mortal.store) == event_log.series()
    assert [run.info.status for run in mortal.store.runs("trial")] == ["FINISHED", "FINISHED"]


class Log(logging.Handler):
    """Says when the mirror has failed, and when it has caught up."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.failed, self.caught_up = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        (self.failed if record.levelno == logging.WARNING else self.caught_up).set()

    def clear(self) -> None:
        self.failed.clear()
        self.caught_up.clear()


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger("jit_sweep.tracking.mirror")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_a_thread_whose_server_is_away_at_first_and_dies_later_catches_up_by_itself_each_time(
    mortal: Server, event_log: EventLog, log: Log
) -> None:
    mirror, said = Mirror(mortal.url, event_log.ledger.reader, event_log.ledger.name), list[str]()
    outages = Outages(said.append)
    thread = MirrorThread(mirror, interval_s=0.05, away=lambda why: outages.note(Surrounding.MLFLOW, why))
    thread.start()
    assert log.failed.wait(WAIT_S)
    event_log.begin()
    event_log.train(*range(48, 480, 48))
    mortal.start()
    assert log.caught_up.wait(WAIT_S)
    assert arrived(mortal.store) == event_log.series()
    log.clear()
    mortal.kill()
    event_log.train(*range(480, 1008, 48))
    assert log.failed.wait(WAIT_S)
    mortal.start()
    assert log.caught_up.wait(WAIT_S)
    assert arrived(mortal.store) == event_log.series()
    event_log.end()
    assert thread.close(WAIT_S) == 0
    assert arrived(mortal.store) == event_log.series()
    assert [line.split()[:3] for line in said] == [["MLflow", "is", "away"], ["MLflow", "is", "back,"]] * 2
