"""The played command: what `jit_sweep.executor.run` and its driver do, with lanes that are played."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.ending import STOPPING_S, RunEnd, run_end
from jit_sweep.executor.opening import end_at_once, take_up
from jit_sweep.executor.outages import Outages, Surrounding
from jit_sweep.executor.schedule import Over, Target
from jit_sweep.executor.searcher import LedgerSearcher
from jit_sweep.ledger.connect import DatabaseAway
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.schedulers.decide import Decider
from tests.simulation.lane import Lane, LaneDied
from tests.simulation.loop import Process, stepped
from tests.simulation.office import Office
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.tracking import PlayedMirror

LANE_STARTS_S = 5.0
LOOK_S = 0.5
ROUND_S = 2.0
FINISH_S = 10.0
MIRROR_CLOSE_S = 60.0
"""Of the driver and of the run; their modules load Ray."""

Waits = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass
class Command:
    """One run of a sweep."""

    world: World
    plan: Plan
    host: str
    lanes: int
    update_s: float = 1.0
    diverging: float = 0.0
    open_lanes: list[Lane] = field(default_factory=list)
    ended: RunEnd | None = None
    trained_nothing: bool = False
    """Whether nothing was left to train, so that it brought up no lane."""
    stop: bool = False
    """What Ctrl-C sets."""
    undelivered: int = 0
    """The ledger's events that MLflow has not got."""

    def start(self) -> "asyncio.Task[RunEnd]":
        self.process = Process("driver", self.host)
        return self.process.spawn(self.run())

    def kill(self) -> None:
        """The driver dies: Ray ends its actor and the owners of its lanes; workers find out by themselves."""
        self.process.kill()
        if hasattr(self, "office"):
            self.office.end()
        for lane in self.open_lanes:
            lane.owner.kill()

    async def run(self) -> RunEnd:
        """LeaseHeld: somebody else runs the sweep."""
        self.outages = Outages(self.world.said.append, clock=lambda: self.world.now)
        world, sweep = self.world, self.plan.spec.name
        engine = world.open(self.host)
        owner = world.owner(self.host)
        self.lease = await asyncio.to_thread(acquire, engine, sweep, owner, clock=world.database_clock)
        self.reader = LedgerReader(engine, clock=world.database_clock)
        decider = Decider(self.plan.spec.scheduler)
        writer = LedgerWriter(engine, self.lease, decider=decider, clock=lambda: world.clock(self.host))
        at_once = await asyncio.to_thread(self._taken_up, writer)
        if at_once is not None:
            await asyncio.to_thread(writer.finish, sweep, at_once.state, reason=at_once.reason)
            self.ended, self.trained_nothing = at_once, True
            await self._shown(self._mirrored())
        else:
            self.office = Office(world, self.lease, host=self.host, spec=self.plan.spec)
            await self.office.start()
            mirrored = self._mirrored()
            self.ended = await self._to_end()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.office.call("finish", self.ended.state, self.ended.reason), FINISH_S)
            self.office.end()
            await self._shown(mirrored)
        with suppress(DatabaseAway):  # it runs out by itself
            await asyncio.to_thread(self.lease.release)
        return self.ended

    def _mirrored(self) -> "tuple[PlayedMirror, asyncio.Task[None]] | None":
        """What brings MLflow up to date, under way; None where the sweep is shown nowhere."""
        if (store := self.world.mlflow) is None:
            return None
        from tests.simulation.tracking import PlayedMirror  # loads MLflow

        away = partial(self.outages.note, Surrounding.MLFLOW)
        mirror = PlayedMirror(store, self.reader, self.lease, away=away)
        return mirror, self.process.spawn(mirror.run())

    async def _shown(self, mirrored: "tuple[PlayedMirror, asyncio.Task[None]] | None") -> None:
        """Give MLflow what it has not got yet."""
        if mirrored is not None:
            mirror, running = mirrored
            with suppress(DatabaseAway):
                self.undelivered = await mirror.close(running, patience_s=MIRROR_CLOSE_S)

    def _taken_up(self, writer: LedgerWriter) -> RunEnd | None:
        """How the run ends where nothing is left to train."""
        clock = partial(self.world.clock, self.host)
        take_up(self.plan, writer, self.reader)
        guard = BudgetGuard(self.plan.spec, self.reader, clock=clock)
        return end_at_once(self.plan, writer, self.reader, guard=guard, clock=clock)

    async def _to_end(self) -> RunEnd:
        clock = lambda: self.world.clock(self.host)  # noqa: E731
        self.stopping, self.reason, self.failure = False, "", ""
        self.guard = BudgetGuard(self.plan.spec, self.reader, clock=clock)
        self.searcher = LedgerSearcher(
            self.plan,
            self.reader,
            (calls := _Calls(self.office)),
            lanes=lambda: self.lanes,
            guard=self.guard,
            stopping=lambda: self.stopping,
            clock=clock,
            monotonic=self.world.loop.time,
        )
        self.calls = calls
        await self.office.call("settle")
        self.tuning = self.process.spawn(self._tune())
        watching = self.process.spawn(self._watch())
        await asyncio.wait({self.tuning})
        watching.cancel()
        if not self.tuning.cancelled():
            self.tuning.result()
        state = await self.office.call("stop_state")
        self.outages.note(Surrounding.STORAGE, state.storage_away)
        try:
            rows = self.reader.entries(self.plan.spec.name)
        except DatabaseAway:
            return RunEnd(SweepState.FAILED, self.failure or "the ledger cannot be read at the end of the run")
        return run_end(
            rows,
            failure=state.failure or self.failure,
            stopping=self.stopping,
            reason=self.reason,
            refused=self.searcher.refused,
        )

    async def _watch(self) -> None:
        """Hear a stop, and look at the budget."""
        while True:
            await asyncio.sleep(ROUND_S)
            state = await self.office.call("stop_state")
            self.failure = state.failure or self.failure
            self.outages.note(Surrounding.STORAGE, state.storage_away)
            away = state.ledger_away
            try:
                self.reason = self.reason or (self.guard.is_over() if not self.stopping else "")
            except DatabaseAway as error:
                away = away or str(error)
            self.outages.note(Surrounding.LEDGER, away)
            if self.stopping and self.outages.lasts_s(Surrounding.LEDGER) > STOPPING_S:
                self.tuning.cancel()
            if self.stop or state.stopping or self.reason:
                self.stopping = True
                await self.office.call("stop", self.failure)

    async def _tune(self) -> None:
        """Hand out until nothing is left."""
        flying: dict[asyncio.Task[Any], str] = {}
        numbers = iter(range(1, 1_000_000))
        while True:
            name = f"t{next(numbers)}"
            step = await self._stepped(lambda name=name: self.searcher.suggest(name))  # type: ignore[misc]
            if isinstance(step, Target):
                flying[self.process.spawn(self._in_a_lane(step))] = name
                continue
            if isinstance(step, Over) and not flying:
                break
            if flying:
                done, _ = await asyncio.wait(flying, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: int(flying[task][1:])):
                    outcome = task.result()
                    name = flying.pop(task)
                    await self._stepped(
                        lambda name=name, outcome=outcome: self.searcher.completed(name, outcome=outcome, error=outcome is None)  # type: ignore[misc]
                    )
            else:
                await asyncio.sleep(LOOK_S)
        for lane in list(self.open_lanes):
            if lane.alive:
                await self.office.call("dismiss", lane.name)
            lane.owner.kill()

    async def _in_a_lane(self, target: Target) -> str | None:
        """The outcome of a trial in a warm lane, or in one that comes up; None where the lane died."""
        lane = next((lane for lane in self.open_lanes if lane.alive and not lane.taken), None)
        if lane is None:
            await asyncio.sleep(self.world.rng.uniform(0.2, 1.0) * LANE_STARTS_S)
            self.world.lanes += 1
            lane = Lane(self.world, self.office, number=self.world.lanes, update_s=self.update_s, diverging=self.diverging)
            self.open_lanes.append(lane)
        lane.taken = True
        try:
            return (await lane.step(target)).outcome
        except LaneDied:
            lane.end_owner()
            return None
        finally:
            lane.taken = False

    async def _stepped(self, call: Callable[[], Any]) -> Any:
        def work(waits: Waits) -> Any:
            self.calls.waits = waits
            return call()

        return await stepped(work)


class _Calls:
    """The office's methods for the searcher, whose calls wait for their answers."""

    waits: Waits

    def __init__(self, office: Office) -> None:
        self._office = office

    def add_entries(self, entries: Sequence[Entry], retired: Sequence[str] = ()) -> None:
        self.waits(self._office.call("add_entries", entries, retired))

    def searched(self, stage: str) -> None:
        self.waits(self._office.call("searched", stage))

    def end_budget(self, keys: Sequence[str], why: str) -> None:
        self.waits(self._office.call("end_budget", keys, why))

    def settle(self) -> None:
        self.waits(self._office.call("settle"))

    def give_up(self, trial: str) -> Cause | None:
        cause: Cause | None = self.waits(self._office.call("give_up", trial))
        return cause

    def stop(self, failure: str = "") -> None:
        self.waits(self._office.call("stop", failure))
