"""The sweep's actor as Ray keeps it: the real one, in a process that may die and is started again until its driver is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from jit_sweep.executor.actor import SweepActor
from jit_sweep.executor.assignment import TrialSettings
from jit_sweep.ledger.lease import Lease
from jit_sweep.spec.sweep import SweepSpec
from tests.simulation.loop import Process, this_process
from tests.simulation.world import World

RESTART_S = 3.0
ASKS_AGAIN_S = (0.0, 1.0, 30.0)
"""How long until somebody asks again whose answer was lost."""


class ActorGone(Exception):
    """The actor's driver has ended, and the actor with it."""


class Office:
    """One run's actor. `call` is what a Ray client does: it asks again until the actor has answered, or is gone."""

    def __init__(self, world: World, lease: Lease, *, host: str, spec: SweepSpec) -> None:
        self.world, self.lease, self.host, self.spec = world, lease, host, spec
        self.settings = TrialSettings(
            data="emoji32",
            holdout=None,
            storage="played://store",
            rung_metric=spec.rung_metric,
            checkpoint_interval_s=60.0,
            memory_bytes=None,
            micro_batch=None,
            activation_checkpointing=None,
        )
        self.over = False
        self.process = Process("no actor yet", host)
        self.process.alive = False

    async def start(self) -> None:
        """Start the actor, or start it again from the ledger."""
        self.process = process = Process("actor", self.host)
        await process.spawn(self._make())

    async def _make(self) -> None:
        self.actor = SweepActor(
            self.world.ledger,
            spec=self.spec,
            epoch=self.lease.epoch,
            owner=self.lease.owner,
            settings=self.settings,
            lost_nodes=lambda: frozenset(self.world.dead_nodes),
            clock=lambda: self.world.clock(self.host),
            database_clock=self.world.database_clock,
        )
        self.world.watch(self.actor._writer._engine, self.host)

    def end(self) -> None:
        """The driver is gone."""
        self.over = True
        self.process.kill()

    async def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """ActorGone."""
        host = this_process().host
        while True:
            await self.world.wire(host)
            if self.over:
                raise ActorGone(method)
            if not self.process.alive:
                await asyncio.sleep(0.5)
                continue
            if self.world.rng.random() < self.world.faults.repeated_messages:
                self._begin(method, arguments, named)
            answering = self._begin(method, arguments, named)
            await asyncio.wait({answering})
            await self.world.wire(host)
            if answering.cancelled():
                continue
            if self.world.drawn_away.random() < self.world.faults.lost_messages:
                await asyncio.sleep(self.world.drawn_away.choice(ASKS_AGAIN_S))
                continue
            return answering.result()

    def _begin(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> "asyncio.Task[Any]":
        work: Coroutine[Any, Any, Any] = getattr(self.actor, method)(*arguments, **named)
        return self.process.spawn(work)
