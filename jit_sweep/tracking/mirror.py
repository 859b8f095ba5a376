"""Writes the ledger's event log into MLflow, in order and exactly once in effect, off the training path.

A delivery that was cut short is made again from the cursor: an event's points always have the same step and time, so that
MLflow recognises those it has. What a repeated attempt measures again is left out. Runs that somebody deleted come back.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from mlflow import MlflowClient

import jit_sweep.ledger.all_of_sqlalchemy  # noqa: F401 - before the mirror's thread begins
from jit_sweep.ledger.connect import DatabaseAway
from jit_sweep.ledger.event_records import EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, SETTLED, EntryRow
from jit_sweep.provenance import git_commit, package_versions
from jit_sweep.redact import redact, redact_all
from jit_sweep.results.retired import retired
from jit_sweep.tracking import client as mlflow_client
from jit_sweep.tracking import runs as mlflow_runs
from jit_sweep.tracking.delivery import STATES_STAY, Delivery
from jit_sweep.tracking.runs import SweepRuns
from jit_sweep.tracking.translation import Variant, variant

_log = logging.getLogger(__name__)
PAGE_EVENTS = 400
INTERVAL_S = 2.0
LONGEST_WAIT_S = 60.0
WAIT_WHILE_CLOSING_S = 0.5


class Mirror:
    """One sweep's view in MLflow. Not for two threads at once, nor for two processes."""

    def __init__(
        self,
        tracking_uri: str,
        reader: LedgerReader,
        sweep: str,
        *,
        artifacts: str | None = None,
        storage: str | None = None,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """`artifacts`: folder or URI for the files of a new experiment; None leaves that to the server.

        `storage`: where the sweep's trials lie now; None: where they lay when they were scored. `ours`: whether the sweep is
        still this run's, asked before each page: one that woke up late would write over what its successor has written.
        """
        self.uri, self._reader, self._sweep = tracking_uri, reader, sweep
        self._artifacts, self._storage, self._ours = artifacts, storage, ours
        self._client: MlflowClient | None = None
        self._runs: SweepRuns | None = None
        self._entries: dict[Variant, list[EntryRow]] = {}
        self._cursor = 0

    def deliver(self) -> int:
        """Deliver all that is new; returns how many events that was."""
        delivered = 0
        while count := self.deliver_page():
            delivered += count
        return delivered

    def deliver_page(self) -> int:
        """Deliver the next few hundred events; returns how many, 0 where nothing is left, or the sweep is another run's."""
        if not self._ours():
            return 0
        try:
            return self._deliver_page()
        except BaseException:
            # What MLflow has of this page is not known: the next delivery looks.
            self._runs = None
            raise

    def undelivered(self) -> int:
        """Events that are not known to have reached MLflow."""
        after, count = self._cursor, 0
        while page := self._reader.events_since(self._sweep, after, limit=PAGE_EVENTS):
            after, count = page[-1].id, count + len(page)
        return count

    def _deliver_page(self) -> int:
        if self._client is None:
            self._client = mlflow_client.open_client(self.uri)
        runs = self._runs or self._find_runs(self._client)
        self._runs, self._cursor = runs, runs.cursor
        events = self._reader.events_since(self._sweep, runs.cursor, limit=PAGE_EVENTS)
        if not events:
            return 0
        delivery = Delivery(self._client, runs, self._reader, self._entries_for(events), storage=self._storage)
        delivery.describe_sweep()
        delivery.write_trials(events)
        if any(event.kind not in STATES_STAY for event in events):
            delivery.write_states()
        delivery.write_sweep(events)
        self._cursor = runs.cursor
        return len(events)

    def _find_runs(self, client: MlflowClient) -> SweepRuns:
        sweep = self._reader.sweep(self._sweep)
        experiment_id = mlflow_client.ensure_experiment(client, artifacts=self._artifacts)
        tags = {"jit_sweep.fingerprint": sweep.fingerprint, "objective": sweep.objective, **_provenance()}
        runs = mlflow_runs.find_or_make(client, experiment_id, sweep, tags=tags)
        self._bring_back(client, runs)
        return runs

    def _bring_back(self, client: MlflowClient, runs: SweepRuns) -> None:
        """Write anew what is gone for good: the runs of trials whose events have been delivered."""
        entries = of_runs(self._reader.entries(self._sweep, every=True))
        lost = {of_run: rows for of_run, rows in entries.items() if of_run not in runs.trials and any(map(has_begun, rows))}
        if not lost or not runs.cursor:
            return
        delivery, after = Delivery(client, runs, self._reader, lost, storage=self._storage), 0
        while page := self._reader.events_since(self._sweep, after, limit=PAGE_EVENTS):
            delivery.write_trials([event for event in page if event.id <= runs.cursor])
            if (after := page[-1].id) >= runs.cursor:
                break
        delivery.write_states()

    def _entries_for(self, events: Sequence[EventRow]) -> dict[Variant, list[EntryRow]]:
        """The sweep's entries by run, read again only where these events may have changed them."""
        if not self._entries or any(event.kind not in STATES_STAY for event in events):
            self._entries = of_runs(self._reader.entries(self._sweep, every=True))
        return self._entries


def of_runs(every: Sequence[EntryRow]) -> dict[Variant, list[EntryRow]]:
    """A sweep's entries by the run that shows them; what it has trained and plans no more has one too."""
    found: dict[Variant, list[EntryRow]] = {}
    for entry in [*(entry for entry in every if not entry.superseded), *retired(every)]:
        found.setdefault(variant(entry), []).append(entry)
    return found


def has_begun(entry: EntryRow) -> bool:
    """Whether it has a run by now."""
    return entry.attempt is not None or entry.state in SETTLED | LOST


class MirrorThread:
    """Delivers a sweep every few seconds until it is closed. What fails is logged and tried again; nothing is raised."""

    def __init__(self, mirror: Mirror, *, interval_s: float = INTERVAL_S, away: Callable[[str], None] = lambda _: None) -> None:
        """`away`: hears after each try why MLflow cannot be reached; empty where it was."""
        self._mirror, self._interval_s, self._away = mirror, interval_s, away
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver_until_closed, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float) -> int:
        """Deliver the rest within this time; returns how many events are still not known to have arrived."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._given_up.set()
        return self._mirror.undelivered()

    def _deliver_until_closed(self) -> None:
        wait_s, failed = self._interval_s, 0
        while not self._given_up.is_set():
            closing = self._closing.is_set()
            try:
                while self._mirror.deliver_page() and not self._given_up.is_set():
                    continue
                self._away("")
                if failed:
                    _log.info("MLflow at %s: caught up after %d failed tries", redact(self._mirror.uri), failed)
                if closing:
                    return
                wait_s, failed = self._interval_s, 0
            except DatabaseAway as error:  # the ledger, of which the run itself tells
                wait_s, failed = min(2 * wait_s, LONGEST_WAIT_S), failed + 1
                _log.warning("MLflow waits for the ledger: %s", error)
            except Exception as error:  # noqa: BLE001 - whatever MLflow raises, the sweep goes on and the view catches up
                wait_s, failed = min(2 * wait_s, LONGEST_WAIT_S), failed + 1
                reason = redact_all(str(error), uri=self._mirror.uri)
                self._away(f"{type(error).__name__}: {reason}")
                _log.warning(
                    "MLflow at %s: %s: %s; next try in %.0f s", redact(self._mirror.uri), type(error).__name__, reason, wait_s
                )
            if closing:
                self._given_up.wait(WAIT_WHILE_CLOSING_S)
            else:
                self._closing.wait(wait_s)


def _provenance() -> dict[str, str]:
    commit = git_commit()
    versions = {f"version.{name}": version for name, version in package_versions().items()}
    source = {"mlflow.source.name": "jit-sweep", "mlflow.source.type": "JOB"}
    return {**source, **versions, **({"mlflow.source.git.commit": commit} if commit is not None else {})}
