"""What goes wrong, drawn from the seed: deaths, freezes, outages, stops and second commands."""

import asyncio
import random

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.stop_requests import ask_to_stop
from tests.simulation.command import Command
from tests.simulation.lane import Lane
from tests.simulation.office import RESTART_S
from tests.simulation.world import World

CUT_OFF_S = (3.0, 20.0, 47.0, 120.0)
"""For a moment; within a letter's patience; within a worker's own; for longer than anybody waits."""
GIVEN_UP_AFTER_S = (15.0, 60.0)
"""Until Ray counts a node as dead that does not answer: sooner and later than a silent worker is missed."""


class Disturber:
    """Disturbs whatever command runs, so many times."""

    def __init__(
        self, world: World, rng: random.Random, times: int, told: list[str], *, only: str = "", cuts: bool = False
    ) -> None:
        """`only`: the one thing that goes wrong; anything where none is named. `cuts`: hosts are cut off too."""
        self.world, self.rng, self.told, self.only, self.cuts = world, rng, told, only, cuts
        self.left = times
        self.command: Command | None = None

    @property
    def over(self) -> bool:
        """Nothing more will be disturbed, and what was has passed."""
        return self.left <= 0

    async def run(self) -> None:
        kinds = [
            self.worker_dies,
            self.owner_dies,
            self.node_dies,
            self.worker_hangs,
            self.actor_dies,
            self.driver_dies,
            self.driver_freezes,
            self.ledger_goes_away,
            self.storage_goes_away,
            self.somebody_interrupts,
            self.somebody_asks_to_stop,
            self.a_second_command,
            *([self.mlflow_goes_away] if self.world.mlflow is not None else []),
            *([self.nodes_are_cut_off, self.driver_is_cut_off] * 3 if self.cuts else []),
        ]
        while self.left > 0:
            await asyncio.sleep(self.rng.expovariate(1 / 6.0))
            kind = getattr(self, self.only) if self.only else self.rng.choice(kinds)
            if self.command is not None and hasattr(self.command, "office"):
                self.told.append(f"{self.world.loop.time():.1f} s: {kind.__name__}")
                await kind(self.command)
                self.left -= 1

    def lane(self, command: Command) -> Lane | None:
        alive = [lane for lane in command.open_lanes if lane.alive]
        return self.rng.choice(alive) if alive else None

    async def worker_dies(self, command: Command) -> None:
        if lane := self.lane(command):
            lane.worker.kill()

    async def owner_dies(self, command: Command) -> None:
        if lane := self.lane(command):
            lane.owner.kill()

    async def node_dies(self, command: Command) -> None:
        if lane := self.lane(command):
            lane.end()

    async def worker_hangs(self, command: Command) -> None:
        if lane := self.lane(command):
            lane.hung = True

    async def actor_dies(self, command: Command) -> None:
        office = command.office
        office.process.kill()
        await asyncio.sleep(self.rng.uniform(0.5, 2.0) * RESTART_S)
        if not office.over:
            await office.start()

    async def driver_dies(self, command: Command) -> None:
        command.kill()

    async def driver_freezes(self, command: Command) -> None:
        """SIGSTOP of the command and its actor, perhaps for longer than a lease lasts; then somebody starts it elsewhere."""
        until = self.world.loop.time() + self.rng.choice((10.0, 150.0))
        command.process.frozen_until = command.office.process.frozen_until = until
        if until - self.world.loop.time() > 100.0:
            await asyncio.sleep(70.0)
            await self.a_second_command(command)

    async def nodes_are_cut_off(self, command: Command) -> None:
        """One lane, or all, cannot reach the actor for a while, nor perhaps the storage; Ray may count their nodes as dead."""
        alive = [lane for lane in command.open_lanes if lane.alive]
        seconds, given_up_after = self.rng.choice(CUT_OFF_S), self.rng.choice(GIVEN_UP_AFTER_S)
        chosen = alive if self.rng.random() < 0.5 else self.rng.sample(alive, min(1, len(alive)))
        without_storage = self.rng.random() < 0.5
        for lane in chosen:
            if without_storage:
                self.world.without_storage_until[lane.worker.host] = self.world.loop.time() + seconds
        await asyncio.gather(*(lane.cut_off(seconds, given_up_after=given_up_after) for lane in chosen))

    async def driver_is_cut_off(self, command: Command) -> None:
        """The command and its actor cannot reach the ledger, perhaps for longer than a lease lasts; others can."""
        seconds = self.rng.choice((5.0, 90.0, 150.0))
        self.world.without_ledger_until[command.host] = self.world.loop.time() + seconds
        if seconds > 100.0:
            await asyncio.sleep(70.0)
            await self.a_second_command(command)

    async def ledger_goes_away(self, command: Command) -> None:
        self.world.ledger_away_until = self.world.loop.time() + self.rng.choice((0.5, 5.0, 90.0))

    async def storage_goes_away(self, command: Command) -> None:
        self.world.storage_away_until = self.world.loop.time() + self.rng.choice((2.0, 30.0, 200.0))

    async def mlflow_goes_away(self, command: Command) -> None:
        assert self.world.mlflow is not None
        self.world.mlflow.away_until = self.world.loop.time() + self.rng.choice((2.0, 30.0, 200.0))

    async def somebody_interrupts(self, command: Command) -> None:
        command.stop = True

    async def somebody_asks_to_stop(self, command: Command) -> None:
        if self.world.loop.time() >= self.world.ledger_away_until:
            engine = open_engine(self.world.ledger)
            ask_to_stop(engine, command.plan.spec.name, by="played")
            engine.dispose()

    async def a_second_command(self, command: Command) -> None:
        """It runs where it may; where it may not, it is refused."""
        second = Command(
            self.world, command.plan, f"second-{self.rng.random()}", lanes=command.lanes, diverging=command.diverging
        )
        running = second.start()
        await asyncio.wait({running})
        second.kill()
        if not running.cancelled():
            running.exception()  # seen: it may have been refused, or taken over
