"""A sweep starts, is stopped and comes to its end while its ledger, its storage or MLflow is away; then it goes on."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jit_sweep.executor.outages import MEANWHILE, Surrounding
from jit_sweep.ledger.connect import DatabaseAway, open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState, SweepState
from tests.simulation.checks import Watcher, check_answered, check_events
from tests.simulation.command import Command
from tests.simulation.play import closed, memory
from tests.simulation.sweeps import BATCH, grid, planned
from tests.simulation.tracking import PlayedMlflow, check_shown
from tests.simulation.world import World
from tests.support.sweep_files import tiny_sweep

SHORT_S, LONG_S = 40.0, 1000.0
"""Virtual seconds: trials come back to what is there again; longer than anybody waits."""
ENDS_WITHIN_S = 180.0
"""Of a run that is stopped, whatever is away: longer than it waits for a ledger and for MLflow together."""
PARTS = (Surrounding.LEDGER, Surrounding.STORAGE, Surrounding.MLFLOW)
FILE = tiny_sweep(stages=[grid(2)], budget={"images_per_trial": 6 * BATCH, "rungs": 2}, scheduler={"kind": "none"})


class Told:
    """One sweep in one world, whose parts go away when a test says so."""

    def __init__(self, ledger: str) -> None:
        self.world = World(1, ledger)
        self.mlflow = self.world.mlflow = PlayedMlflow(1, self.world.loop.time)
        self.engine = open_engine(ledger)
        self.reader = LedgerReader(self.engine, clock=self.world.database_clock)
        self.watcher, self.runs = Watcher(self.engine, self.mlflow), 0

    def take(self, part: Surrounding, seconds: float) -> None:
        """A part is away for so long."""
        until = self.world.loop.time() + seconds
        match part:
            case Surrounding.LEDGER:
                self.world.ledger_away_until = until
            case Surrounding.STORAGE:
                self.world.storage_away_until = until
            case _:
                self.mlflow.away_until = until

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.reader.events_since("tiny", 0, limit=100_000)]

    async def run(self, at_rung: Callable[[Command], None] = lambda _: None) -> Command:
        """One command, to its end; `at_rung`: what is done once the first rung is in the ledger."""
        self.runs += 1
        command = Command(self.world, planned(FILE), f"host-{self.runs}", lanes=2)
        running = command.start()
        try:
            while not running.done() and EventKind.RUNG not in self.kinds():
                await asyncio.wait({running}, timeout=0.1)
            at_rung(command)
            await asyncio.wait_for(asyncio.shield(running), LONG_S)
        finally:
            command.kill()
        self.watcher.look()
        return command


async def starts(told: Told, part: Surrounding) -> None:
    told.take(part, SHORT_S)
    if part is Surrounding.LEDGER:
        with pytest.raises(DatabaseAway):
            await told.run()
        assert told.reader.sweeps() == []
        await asyncio.sleep(SHORT_S)
    ended = await told.run()
    assert ended.ended is not None
    assert ended.ended.state is SweepState.DONE


async def stops(told: Told, part: Surrounding) -> None:
    def interrupt(command: Command) -> None:
        told.take(part, LONG_S)
        command.stop = True

    began = told.world.loop.time()
    stopped = await told.run(interrupt)
    assert told.world.loop.time() - began < ENDS_WITHIN_S
    assert stopped.ended is not None
    assert stopped.ended.state is (SweepState.FAILED if part is Surrounding.LEDGER else SweepState.INTERRUPTED)
    assert (stopped.undelivered > 0) == (part is Surrounding.MLFLOW)
    told.take(part, 0.0)
    assert {row.state for row in told.reader.entries("tiny")} <= {EntryState.RUNNING, EntryState.PAUSED, EntryState.WAITING}


async def ends(told: Told, part: Surrounding) -> None:
    length_s = LONG_S if part is Surrounding.MLFLOW else SHORT_S  # the only one that the end does not wait for
    ended = await told.run(lambda _: told.take(part, length_s))
    assert ended.ended is not None
    assert ended.ended.state is SweepState.DONE
    assert (ended.undelivered > 0) == (part is Surrounding.MLFLOW)
    told.take(part, 0.0)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("moment", [starts, stops, ends])
def test_a_sweep_outlives_that_a_part_is_away_as_it_starts_is_stopped_and_ends(
    moment: Callable[[Told, Surrounding], Awaitable[None]], part: Surrounding
) -> None:
    async def story(told: Told) -> None:
        await moment(told, part)
        last = await told.run()
        assert last.ended is not None
        assert last.ended.state is SweepState.DONE
        assert last.trained_nothing is (moment is not stops)

    with memory() as ledger:
        told = Told(ledger)
        with closed(told.world):
            told.world.loop.run_until_complete(story(told))
        events = told.reader.events_since("tiny", 0, limit=100_000)
        check_events(events)
        check_answered(events, list(dict.fromkeys(told.world.answered)))
        check_shown(told.mlflow, told.reader, "tiny")
        assert {row.state for row in told.reader.entries("tiny")} == {EntryState.DONE}
        told.engine.dispose()
    refused = moment is starts and part is Surrounding.LEDGER
    named = [line for line in told.world.said if line.startswith(f"{part} is away since")]
    assert len(named) == (0 if refused else 1)
    assert all(line.endswith(MEANWHILE[part]) for line in named)
    assert [line for line in told.world.said if not line.startswith(str(part))] == [], "nothing else was away"
