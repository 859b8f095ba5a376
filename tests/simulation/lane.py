"""A played lane: its owner, which Tune gives trial after trial, and its one worker."""

import asyncio
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Any

from jit_sweep.executor.schedule import Target
from jit_sweep.ledger.records import Cause
from tests.simulation.checks import check_over
from tests.simulation.loop import Process
from tests.simulation.office import ActorGone, Office
from tests.simulation.trainer import Trainer
from tests.simulation.world import StorageAway, World
from trainables.data import DataError
from trainables.lane.messages import (
    AttemptKey,
    FencedOff,
    GoHome,
    Letter,
    NotOver,
    NoWorkYet,
    Offer,
    TaskOutcome,
    TrialCause,
    WorkerAddress,
    WorkItem,
)
from trainables.report import Decision, Ended, Rung

PATIENCE_S = 30.0
LONGEST_SILENCE_S = 50.0
BEAT_S = 1.0


class Fenced(Exception):
    """The attempt was replaced."""


class LaneDied(Exception):
    """Tune is told so by an error of the lane's owner."""


class Lane:
    """Owner and worker, each in a process of its own."""

    def __init__(self, world: World, office: Office, *, number: int, update_s: float, diverging: float) -> None:
        self.world, self.office, self.update_s, self.diverging = world, office, update_s, diverging
        host = f"node-{number}"
        self.name = f"{office.lease.sweep}-{office.lease.epoch}-{number}"
        self.owner, self.worker = Process(f"owner {number}", host), Process(f"worker {number}", host)
        self.address = WorkerAddress(rank=0, host=host, pid=number, node=host)
        self.training: Trainer | None = None
        self.hung = False
        """A hung worker neither beats nor trains."""
        self.stop = self.taken = False
        self.known: AttemptKey | None = None
        """The last attempt that an offer of its owner has opened."""
        self.given_up = asyncio.Event()
        """Set once Ray counts its node as dead, whether it is or not."""
        self.worker.spawn(self._work())
        self.worker.spawn(self._beat())

    @property
    def alive(self) -> bool:
        return self.owner.alive and self.worker.alive and not self.given_up.is_set()

    def end(self) -> None:
        self.owner.kill()
        self.worker.kill()

    def end_owner(self) -> None:
        """Where Ray still reaches it."""
        if not self.given_up.is_set():
            self.owner.kill()

    async def cut_off(self, seconds: float, *, given_up_after: float) -> None:
        """Nothing passes between its node and the actor's. Ray counts it as dead after a while; then it ends once it hears."""
        self.world.cut_off_until[self.owner.host] = self.world.loop.time() + seconds
        if seconds > given_up_after:
            await asyncio.sleep(given_up_after)
            self.world.dead_nodes.add(self.owner.host)
            self.given_up.set()
            await self.world.joined(self.owner.host)
            self.end()

    # --- the owner

    async def step(self, target: Target) -> TaskOutcome:
        """One trial in this lane. LaneDied."""
        stepping = self.owner.spawn(self._step(target))
        heard, given_up = asyncio.ensure_future(self._heard(stepping)), asyncio.ensure_future(self.given_up.wait())
        await asyncio.wait({heard, given_up}, return_when=asyncio.FIRST_COMPLETED)
        heard.cancel()
        given_up.cancel()
        if self.given_up.is_set():
            raise LaneDied("its node is counted as dead")
        if stepping.cancelled() or isinstance(stepping.exception(), ActorGone):
            raise LaneDied("the owner was killed")
        return stepping.result()

    async def _heard(self, stepping: "asyncio.Task[TaskOutcome]") -> None:
        await asyncio.wait({stepping})
        await self.world.joined(self.owner.host)

    async def _step(self, target: Target) -> TaskOutcome:
        self.world.offers[self.name] += 1
        offer = Offer(target.trial_id, target.images, after=self.known)
        opened: AttemptKey | TaskOutcome = await self._awaited("offer", offer=offer)
        self.known = opened if isinstance(opened, AttemptKey) else self.known
        outcome: TaskOutcome = opened if isinstance(opened, TaskOutcome) else await self._awaited("outcome", key=opened)
        if isinstance(opened, AttemptKey):
            check_over(self.office.lease, opened)
        if outcome.lane_over:
            self.end_soon()
            raise LaneDied(f"the lane ends with its trial: {outcome.cause}")
        return outcome

    def end_soon(self) -> None:
        self.worker.kill()

    async def _awaited(self, method: str, **arguments: Any) -> Any:
        """What the office answers in the end, for as long as the worker lives. LaneDied."""
        while True:
            asked = self.owner.spawn(self.office.call(method, self.name, **arguments))
            while not asked.done():
                await asyncio.wait({asked}, timeout=0.5)
                if not self.worker.alive and not asked.done():
                    await self.office.call("lost", self.name, detail="the played worker died", cause=Cause.WORKER_LOST)
                    raise LaneDied("the worker died")
            if not isinstance(said := asked.result(), NotOver):
                return said

    # --- the worker

    async def _beat(self) -> None:
        heard = self.world.loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            while self.hung:
                await asyncio.sleep(60.0)
            try:
                self.stop = await asyncio.wait_for(self.office.call("beat", self.name, address=self.address), 5.0)
                heard = self.world.loop.time()
            except ActorGone:
                self.worker.kill()
            except TimeoutError:
                if self.world.loop.time() - heard > LONGEST_SILENCE_S:
                    self.worker.kill()
            if self.training is not None:
                self.training.stop = self.stop

    async def _work(self) -> None:
        done: AttemptKey | None = None
        try:
            while True:
                work = await self.office.call("take", self.name, address=self.address, after=done)
                if isinstance(work, GoHome):
                    self.worker.kill()
                elif not isinstance(work, NoWorkYet):
                    done = work.key
                    await self._train(work)
        except ActorGone:
            self.worker.kill()

    async def _train(self, work: WorkItem) -> None:
        self.letters: deque[Letter] = deque()
        self.training = Trainer(self.world, work.assignment, update_s=self.update_s, diverging=self.diverging, stop=self.stop)
        try:
            await self._consume(work)
        except Fenced:
            self.letters.clear()
        except (StorageAway, DataError) as error:
            cause: TrialCause = "data_error" if isinstance(error, DataError) else "storage_error"
            with suppress(Fenced):
                await self._deliver_all()
                await self.office.call("failed", self.name, key=work.key, cause=cause, detail=str(error))
        finally:
            self.training = None

    async def _consume(self, work: WorkItem) -> None:
        assert self.training is not None
        reports = self.training.reports(self._sleep)
        decision: Decision | None = None
        with suppress(StopAsyncIteration):
            for sequence in count(1):
                report = await reports.asend(decision)
                self.letters.append(Letter(key=work.key, sequence=sequence, report=report))
                decision = None
                if isinstance(report, Rung | Ended):
                    decision = await self._deliver_all()
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._deliver_all(), PATIENCE_S)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while self.hung:
            await asyncio.sleep(60.0)

    async def _deliver_all(self) -> Decision | None:
        """Deliver all letters that wait, in order; the last answer. Fenced."""
        answer = None
        while self.letters:
            letter = self.letters[0]
            answer = await self.office.call("report", self.name, letter=letter)
            if isinstance(answer, FencedOff):
                raise Fenced(answer.reason)
            self.world.answered.append((letter.key.trial, letter.key.attempt, letter.sequence))
            self.letters.popleft()
        return answer
