"""A played MLflow: what `jit_sweep.tracking.mirror` asks of its client, in memory, behind a wire on which requests and answers
are lost. It recognises a point that it has, as MLflow's SQL store does."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from jit_sweep.ledger.connect import DatabaseAway
from jit_sweep.ledger.lease import Lease
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.tracking.mirror import INTERVAL_S, LONGEST_WAIT_S, WAIT_WHILE_CLOSING_S, Mirror
from jit_sweep.tracking.runs import CURSOR, KIND
from jit_sweep.tracking.translation import points
from tests.simulation.checks import taken_over
from tests.simulation.loop import stepped, this_process
from trainables.report import Rung, Scored

LONGEST_WAY_S = 0.05
Waits = Callable[[Coroutine[Any, Any, Any]], Any]


class TrackingAway(ConnectionError):
    """The played MLflow cannot be reached, or its answer was lost."""


@dataclass
class PlayedRun:
    """One run."""

    id: str
    status: str
    tags: dict[str, str]
    deleted: bool = False
    points: dict[tuple[str, int], list[tuple[int, float]]] = field(default_factory=dict)
    """By metric and step: the times and values of its points."""

    @property
    def shown(self) -> Any:
        """As MLflow's client gives it."""
        info = SimpleNamespace(run_id=self.id, status=self.status, lifecycle_stage="deleted" if self.deleted else "active")
        metrics = {name: points[-1][1] for (name, _), points in sorted(self.points.items())}
        return SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(self.tags), metrics=metrics))


class Page(list[Any]):
    """All that a search finds, at once."""

    token = ""


class PlayedMlflow:
    """The store."""

    def __init__(self, seed: int, now: Callable[[], float], *, lost_answers: float = 0.0) -> None:
        """lost_answers: share of the requests that are done, and whose answer is lost."""
        self.runs: dict[str, PlayedRun] = {}
        self.strangers: list[str] = []
        """What was written on a page that was begun after its writer had lost the sweep."""
        self.away_until, self.lost_answers = 0.0, lost_answers
        self._rng, self._now = random.Random(f"mlflow {seed}"), now

    def of_kind(self, kind: str) -> list[PlayedRun]:
        return [run for run in self.runs.values() if run.tags[KIND] == kind and not run.deleted]

    @property
    def cursor(self) -> int:
        """The ledger's last event that it says to have; 0 before the first."""
        return max((int(run.tags.get(CURSOR, 0)) for run in self.of_kind("sweep")), default=0)

    async def way(self) -> None:
        """A message's way. TrackingAway."""
        await asyncio.sleep(self._rng.uniform(0, LONGEST_WAY_S))
        if self._now() < self.away_until:
            raise TrackingAway("the played MLflow is away")

    def lose(self) -> None:
        """TrackingAway: the request was done, and its answer is lost."""
        if self._rng.random() < self.lost_answers:
            raise TrackingAway("the played answer of MLflow was lost")


class PlayedClient:
    """MLflow's client, as one process has it. Every request may raise TrackingAway."""

    waits: Waits

    def __init__(self, store: PlayedMlflow) -> None:
        self._store, self.writes = store, 0

    def get_experiment_by_name(self, name: str) -> Any:
        return self._asked(lambda: SimpleNamespace(experiment_id="1", lifecycle_stage="active", name=name))

    def search_runs(self, experiments: Sequence[str], *, filter_string: str, **_: Any) -> Page:
        tag, wanted = filter_string.replace("`", "'").split("'")[1:4:2]
        found: Page = self._asked(lambda: Page(run.shown for run in self._store.runs.values() if run.tags.get(tag) == wanted))
        return found

    def create_run(self, experiment: str, *, tags: Mapping[str, str], **_: Any) -> Any:
        def create() -> Any:
            run = PlayedRun(f"run-{len(self._store.runs)}", "RUNNING", dict(tags))
            self._store.runs[run.id] = run
            return run.shown

        return self._written(create)

    def set_tag(self, run: str, name: str, value: str) -> None:
        self._written(lambda: self._store.runs[run].tags.update({name: value}))

    def delete_run(self, run: str) -> None:
        self._written(lambda: setattr(self._store.runs[run], "deleted", True))

    def restore_run(self, run: str) -> None:
        self._written(lambda: setattr(self._store.runs[run], "deleted", False))

    def set_terminated(self, run: str, status: str, **_: Any) -> None:
        self._written(lambda: setattr(self._store.runs[run], "status", status))

    update_run = set_terminated

    def log_dict(self, run: str, *_: Any) -> None:
        self._written(lambda: None)

    log_text = log_artifact = log_dict

    def log_batch(self, run: str, *, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()) -> None:
        def write() -> None:
            kept = self._store.runs[run]
            for point in metrics:
                known = kept.points.setdefault((point.key, point.step), [])
                if (point.timestamp, point.value) not in known:
                    known.append((point.timestamp, point.value))
            kept.tags |= {tag.key: tag.value for tag in tags}

        self._written(write)

    def _written(self, work: Callable[[], Any]) -> Any:
        self.writes += 1
        return self._asked(work)

    def _asked(self, work: Callable[[], Any]) -> Any:
        self.waits(self._store.way())
        answer = work()
        self._store.lose()
        return answer


class PlayedMirror:
    """What `MirrorThread` does, in the process that this is made in.

    One that is stopped amid a page is played as stopped before it: MLflow has no conditional write to fence it off with.
    """

    def __init__(self, store: PlayedMlflow, reader: LedgerReader, lease: Lease, *, away: Callable[[str], None]) -> None:
        self._mirror = Mirror("", reader, lease.sweep, ours=lease.is_ours)
        self._client, self._store, self._lease = PlayedClient(store), store, lease
        self._mirror._client = self._client  # type: ignore[assignment]
        self._away, self._closing, self._process = away, False, this_process()

    async def run(self) -> None:
        """Deliver until all is there after it was closed."""
        wait_s = INTERVAL_S
        while True:
            closing, failed = self._closing, False
            await self._process.thawed()
            try:
                while await stepped(self._page):
                    continue
                self._away("")
            except TrackingAway as error:
                failed = True
                self._away(str(error))
            except DatabaseAway:
                failed = True
            if closing and not failed:
                return
            wait_s = min(2 * wait_s, LONGEST_WAIT_S) if failed else INTERVAL_S
            until = asyncio.get_running_loop().time() + wait_s
            while not self._closing and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(WAIT_WHILE_CLOSING_S)
            if self._closing:
                await asyncio.sleep(WAIT_WHILE_CLOSING_S)

    async def close(self, running: "asyncio.Task[None]", *, patience_s: float) -> int:
        """The events that are not known to have arrived within this time."""
        self._closing = True
        await asyncio.wait({running}, timeout=patience_s)
        if running.done():
            running.result()  # whatever else it raised
        running.cancel()
        return self._mirror.undelivered()

    def _page(self, waits: Waits) -> int:
        self._client.waits = waits
        lost, before = taken_over(self._lease), self._client.writes
        try:
            return self._mirror.deliver_page()
        finally:
            if lost and self._client.writes > before:
                self._store.strangers.append(f"{self._client.writes - before} times by {self._lease.owner.host}")


def check_shown(store: PlayedMlflow, reader: LedgerReader, sweep: str) -> None:
    """MLflow has all that the ledger has, once: a run for the sweep and one for each trial, each point, and how they stand."""
    (parent,), trials = store.of_kind("sweep"), {run.tags["trial"]: run for run in store.of_kind("trial")}
    entries, events = reader.entries(sweep), reader.events_since(sweep, 0, limit=1_000_000)
    assert store.cursor == events[-1].id, f"MLflow has events up to {store.cursor} of {events[-1].id}"
    assert parent.tags["state"] == str(reader.sweep(sweep).state)
    assert len(trials) == len(store.of_kind("trial")), "a trial has two runs"
    for row in entries:
        if row.attempt is not None:
            assert trials[row.trial_id].tags["state"] == str(row.state)
    for run in trials.values():
        doubled = {at: points for at, points in run.points.items() if len(points) > 1}
        assert not doubled, f"{run.tags['trial']} has several points at {doubled}"
    for event in events:
        if isinstance(event.content, Rung | Scored) and event.trial_id in trials:
            for point in points(event):
                assert (point.key, point.step) in trials[event.trial_id].points, f"{event.trial_id} lacks {point.key}"
