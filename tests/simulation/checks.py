"""What must hold at any moment of any sweep, whatever goes wrong, read from the ledger's tables alone."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Select, func, select

from jit_sweep.ledger import schema
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.lease import Lease
from jit_sweep.plan.entry import Plan
from trainables.lane.messages import AttemptKey

if TYPE_CHECKING:
    from tests.simulation.tracking import PlayedMlflow

LOOK_S = 2.0


class Watcher:
    """Looks at a ledger again and again; AssertionError where something has changed that may not."""

    def __init__(self, engine: Engine, mlflow: "PlayedMlflow | None" = None) -> None:
        self._engine, self._mlflow = engine, mlflow
        self._cursor = 0
        self._scores: dict[Any, Any] = {}
        self._verdicts: dict[Any, Any] = {}
        self._epochs: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        self._rescheduled: int | None = 0

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        with self._engine.connect() as connection:
            attempts = connection.execute(select(schema.attempt)).all()
            scores = {row[:3]: row for row in map(tuple, connection.execute(select(schema.score)))}
            verdicts = {row[:4]: row for row in map(tuple, connection.execute(select(schema.verdict)))}
            epochs = {row.sweep: row.epoch for row in connection.execute(select(schema.lease))}
            forgotten = select(func.count()).where(schema.event.c.kind == EventKind.RESCHEDULED)
            rescheduled = connection.scalar(forgotten)
        open_now = Counter(row.trial_id for row in attempts if row.outcome is None)
        assert max(open_now.values(), default=0) <= 1, f"a trial has two open attempts: {open_now}"
        self._kept("score", self._scores, scores)
        if rescheduled == self._rescheduled:
            self._kept("verdict", self._verdicts, verdicts)
        self._verdicts, self._rescheduled = verdicts, rescheduled
        assert all(epochs[sweep] >= epoch for sweep, epoch in self._epochs.items()), "an epoch fell"
        self._epochs = epochs
        self._saved_stays(attempts)
        if self._mlflow is not None:
            cursor = self._mlflow.cursor
            assert cursor >= self._cursor, f"MLflow's cursor fell from {self._cursor} to {cursor}"
            self._cursor = cursor
            assert not self._mlflow.strangers, f"MLflow was written by who had lost the sweep: {self._mlflow.strangers}"

    def _kept(self, what: str, before: dict[Any, Any], now: dict[Any, Any]) -> None:
        for key, row in before.items():
            assert now.get(key) == row, f"a {what} changed: {row} is now {now.get(key)}"
        before |= now

    def _saved_stays(self, attempts: Sequence[Any]) -> None:
        """The images that a trial's last attempt can go on from never fall."""
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        last: dict[str, int] = {}
        for row in sorted(attempts, key=lambda row: (row.trial_id, row.number)):
            numbers[row.trial_id].append(row.number)
            last[row.trial_id] = row.checkpoint_images or 0
        assert all(found == list(range(1, len(found) + 1)) for found in numbers.values()), "attempts are not numbered in turn"
        for trial, images in last.items():
            assert images >= self._saved.get(trial, 0), f"{trial} had {self._saved[trial]} committed images, now {images}"
        self._saved = last


def taken_over(lease: Lease) -> bool:
    """Whether the sweep is another run's by now."""
    return bool(_found(lease, select(schema.lease.c.epoch).where(schema.lease.c.sweep == lease.sweep)) != lease.epoch)


def check_over(lease: Lease, key: AttemptKey) -> None:
    """What a lane's owner is told to be over is so in the ledger, or the sweep is another run's."""
    own = select(schema.attempt.c.outcome).where(schema.attempt.c.trial_id == key.trial, schema.attempt.c.number == key.attempt)
    assert _found(lease, own) is not None or taken_over(lease), f"an owner was told that {key} is over, and it is open"


def _found(lease: Lease, query: Select[Any]) -> Any:
    """What the ledger has, whoever may reach it now."""
    engine = open_engine(str(lease.engine.url))  # of its own: it meets no outage
    with engine.connect() as connection:
        found = connection.scalar(query)
    engine.dispose()
    return found


def check_events(events: Sequence[EventRow]) -> None:
    """The order of what was written: each attempt begins once, says nothing after its end, and nothing after a later owner."""
    begun: dict[tuple[str, int], str] = {}
    closed: set[tuple[str, int]] = set()
    sequences: dict[tuple[str, int], int] = {}
    for event in events:
        if event.kind is EventKind.REOPENED:
            closed |= set(begun)
        if event.trial_id is None or event.attempt is None or event.kind is EventKind.CACHE_HIT:
            continue
        key = (event.trial_id, event.attempt)
        if event.kind is EventKind.BEGUN:
            assert key not in begun, f"{key} began twice"
            others = {other for other in begun if other[0] == key[0]} - closed
            assert not others, f"{key} began while {others} was open"
            begun[key] = event.data["lane"]
            continue
        assert key in begun, f"{event.kind} of {key}, which never began"
        assert key not in closed, f"{event.kind} of {key} after its end"
        if event.sequence is not None:
            assert event.sequence > sequences.get(key, 0), f"{key}: report {event.sequence} after {sequences[key]}"
            sequences[key] = event.sequence
        if event.kind in (EventKind.ENDED, EventKind.FAILED):
            closed.add(key)


def check_offers(events: Sequence[EventRow], offers: Mapping[str, int]) -> None:
    """No lane has opened more attempts than it was offered trials."""
    opened = Counter(event.data["lane"] for event in events if event.kind is EventKind.BEGUN)
    more = {lane: count for lane, count in opened.items() if count > offers.get(lane, 0)}
    assert not more, f"more attempts than offers: {more}"


def check_answered(events: Sequence[EventRow], answered: Sequence[tuple[str, int, int]]) -> None:
    """Every report that was answered is in the ledger, once."""
    recorded = Counter((event.trial_id, event.attempt, event.sequence) for event in events if event.sequence is not None)
    lost = [letter for letter in answered if recorded[letter] != 1]
    assert not lost, f"answered, and not in the ledger once: {lost}"


def check_budget(events: Sequence[EventRow], plan: Plan) -> None:
    """No more images than the budget has, and no more trials, counted from the events."""
    spent: dict[tuple[str, int], tuple[int, int]] = {}
    for event in events:
        if event.trial_id is None or event.attempt is None:
            continue
        key, images = (event.trial_id, event.attempt), event.data.get("images")
        if event.kind is EventKind.BEGUN:
            spent[key] = (event.data["images"], event.data["images"])
        elif event.kind is EventKind.PHASE:
            spent[key] = (images or 0, max(images or 0, spent[key][1]))
        elif images is not None and key in spent:
            spent[key] = (spent[key][0], max(images, spent[key][1]))
    images, trials = sum(end - start for start, end in spent.values()), len({trial for trial, _ in spent})
    budget = plan.spec.budget
    assert budget.total_images is None or images <= budget.total_images, f"{images} images of {budget.total_images}"
    assert budget.trials is None or trials <= budget.trials, f"{trials} trials of {budget.trials}"
