"""One seed's whole story: a sweep, what disturbs it, and the commands that bring it to its end."""

import asyncio
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jit_sweep.executor.ending import RunEnd
from jit_sweep.ledger.connect import DatabaseAway, open_engine
from jit_sweep.ledger.event_records import EventRow
from jit_sweep.ledger.lease import LeaseHeld, LeaseLost
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.plan.entry import Plan
from tests.simulation.checks import Watcher
from tests.simulation.command import Command
from tests.simulation.disturb import Disturber
from tests.simulation.office import ActorGone
from tests.simulation.sweeps import planned
from tests.simulation.world import Faults, World

AGAIN_S = 20.0
"""How long a person waits before the same command is tried again."""
LONGEST_S = 3_000.0
"""Virtual seconds that any played sweep must end in: ten times what one takes, so that one that hangs is soon seen."""
MOST_RUNS = 40
MLFLOW_LOST = 0.01
"""Share of MLflow's answers that are lost."""
GIVES_UP = (LeaseHeld, LeaseLost, ActorGone, DatabaseAway, asyncio.CancelledError)
"""How a command may end without its sweep's end: refused, taken over, its ledger away, or killed."""


class NeverEnds(AssertionError):
    """With all faults off, the sweep has not come to its end."""


@dataclass
class Story:
    """A played sweep, to be looked at."""

    world: World
    plan: Plan
    ends: list[RunEnd] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What disturbed it."""
    events: list[EventRow] = field(default_factory=list)
    rows: list[EntryRow] = field(default_factory=list)

    @property
    def sweep(self) -> str:
        return self.plan.spec.name

    @property
    def end(self) -> RunEnd:
        """Of its last run."""
        return self.ends[-1]


@contextmanager
def memory() -> Iterator[str]:
    """The address of an sqlite ledger that lies in memory where the machine has a file system there."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield f"sqlite:///{folder}/ledger.db"


def play(
    seed: int,
    given: Mapping[str, Any],
    *,
    ledger: str,
    disturbances: int = 0,
    only: str = "",
    longest_s: float = LONGEST_S,
    faults: Faults | None = None,
    diverging: float = 0.0,
    lanes: int | None = None,
    shown: bool = False,
    cuts: bool = False,
) -> Story:
    """Play a sweep: so many disturbances, and then none until it ends. NeverEnds. AssertionError: an invariant is broken.

    `only`: the one kind of disturbance; any where none is named. `longest_s`: virtual seconds that it must end in.
    `shown`: in a played MLflow, that loses answers and goes away too. `cuts`: hosts are cut off from each other too.
    """
    world = World(seed, ledger, faults or Faults())
    if shown:
        from tests.simulation.tracking import PlayedMlflow  # loads MLflow

        world.mlflow = PlayedMlflow(seed, world.loop.time, lost_answers=MLFLOW_LOST)
    story = Story(world, planned(dict(given)))
    width = lanes or world.rng.randint(1, 4)
    disturber = Disturber(world, random.Random(f"disturb {seed}"), disturbances, story.told, only=only, cuts=cuts)
    with closed(world):
        try:
            world.loop.run_until_complete(_story(story, disturber, lanes=width, diverging=diverging, longest_s=longest_s))
        except TimeoutError:
            raise NeverEnds(f"seed {seed}: {story.told}") from None
    return story


async def _story(story: Story, disturber: Disturber, *, lanes: int, diverging: float, longest_s: float) -> None:
    world = story.world
    engine = open_engine(world.ledger)
    reader = LedgerReader(engine, clock=world.database_clock)
    watcher = Watcher(engine, world.mlflow)
    watching = asyncio.create_task(watcher.watch())
    disturbing = asyncio.create_task(disturber.run())
    try:
        async with asyncio.timeout(longest_s):
            await _runs(story, disturber, lanes=lanes, diverging=diverging)
    finally:
        watching.cancel()
        disturbing.cancel()
    watcher.look()
    if watching.done() and not watching.cancelled() and watching.exception():
        raise watching.exception()  # type: ignore[misc]
    story.events = reader.events_since(story.sweep, 0, limit=1_000_000)
    story.rows = reader.entries(story.sweep)
    if world.mlflow is not None:
        from tests.simulation.tracking import check_shown

        check_shown(world.mlflow, reader, story.sweep)
    engine.dispose()


async def _runs(story: Story, disturber: Disturber, *, lanes: int, diverging: float) -> None:
    """The same command again and again, as a person would, until a run that nothing disturbed has ended."""
    world = story.world
    for number in range(MOST_RUNS):
        calm = disturber.over
        command = Command(world, story.plan, f"host-{number}", lanes=lanes, diverging=diverging)
        running = command.start()
        disturber.command = command
        await asyncio.wait({running})
        command.kill()  # whatever it has left behind ends with it
        with suppress(*GIVES_UP):
            story.ends.append(running.result())
            if command.undelivered:  # the next run gives MLflow what it has missed
                continue
            if calm or command.trained_nothing or story.end.state is SweepState.DONE:  # nothing is left to disturb
                return
        await asyncio.sleep(AGAIN_S)
    raise TimeoutError


@contextmanager
def closed(world: World) -> Iterator[None]:
    """A world's loop, in which whatever is still under way at the end of the block ends without a word."""
    asyncio.set_event_loop(world.loop)
    try:
        yield
    finally:
        _close(world)


def _close(world: World) -> None:
    left = [task for task in asyncio.all_tasks(world.loop) if not task.done()]
    for task in left:
        task.cancel()
    with suppress(Exception):
        world.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    world.loop.close()
    asyncio.set_event_loop(None)
