"""A sweep as a machine that hypothesis drives: run, edit the file, kill, cut off, set clocks, stop; and what must hold."""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.lease import LeaseHeld
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SETTLED, SweepState
from tests.simulation.checks import Watcher, check_answered, check_events, check_offers
from tests.simulation.command import Command
from tests.simulation.disturb import Disturber
from tests.simulation.judge import check_verdicts
from tests.simulation.play import AGAIN_S, MOST_RUNS, memory
from tests.simulation.sweeps import BATCH, SCHEDULERS, grid, planned, scheduler, search
from tests.simulation.world import Faults, World
from tests.support.sweep_files import tiny_sweep

LONGEST_RUN_S = 5_000.0
"""Virtual seconds in which an undisturbed run ends."""
DEATHS = ("worker_dies", "owner_dies", "node_dies", "worker_hangs", "actor_dies", "driver_dies", "driver_freezes")
OUTAGES = ("ledger_goes_away", "storage_goes_away", "nodes_are_cut_off", "driver_is_cut_off")
WISHES = ("somebody_interrupts", "somebody_asks_to_stop", "a_second_command")


class SweepMachine(RuleBasedStateMachine):
    """One ledger, and whatever is done to it."""

    @initialize(seed=st.integers(0, 1000), which=st.integers(0, len(SCHEDULERS) - 1), arms=st.integers(2, 4))
    def begin(self, seed: int, which: int, arms: int) -> None:
        self.held = ExitStack()
        self.world = World(
            seed, self.held.enter_context(memory()), Faults(repeated_messages=0.05, lost_answers=0.01, lost_messages=0.02)
        )
        self.arms, self.seeds, self.images, self.which, self.proposals = arms, 1, 4, which, 0
        self.disturber = Disturber(self.world, random.Random(seed), 0, [])
        self.command: Command | None = None
        self.running: asyncio.Task[Any] | None = None
        self.engine = open_engine(self.world.ledger)
        self.reader = LedgerReader(self.engine, clock=self.world.database_clock)
        self.watcher = Watcher(self.engine)
        self.hosts = 0
        self.run()

    @property
    def file(self) -> dict[str, Any]:
        """The sweep file as it is now."""
        stages = [grid(self.arms, seeds=self.seeds), *([search(self.proposals)] if self.proposals else [])]
        budget = {"images_per_trial": self.images * BATCH, "rungs": 2}
        return tiny_sweep(stages=stages, budget=budget, scheduler=scheduler(self.which))

    @property
    def is_run(self) -> bool:
        return self.running is not None and not self.running.done()

    @rule(seconds=st.sampled_from((0.3, 2.0, 9.0, 70.0)))
    def pass_time(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    @precondition(lambda self: not self.is_run)
    @rule()
    def run(self) -> None:
        self.hosts += 1
        if self.command is not None:
            self.command.kill()
        self.command = Command(self.world, planned(self.file), f"host-{self.hosts}", lanes=2, diverging=0.1)
        asyncio.set_event_loop(self.world.loop)
        self.running = self.world.loop.run_until_complete(self._started(self.command))

    @rule(what=st.sampled_from(("arm", "seed", "budget", "scheduler", "search")), which=st.integers(0, len(SCHEDULERS) - 1))
    def edit(self, what: str, which: int) -> None:
        """The file is read by the next run."""
        self.arms += what == "arm" and self.arms < 5
        self.seeds += what == "seed" and self.seeds < 2
        self.images += 2 if what == "budget" and self.images < 8 else 0
        self.proposals += 1 if what == "search" and self.proposals < 3 else 0
        self.which = which if what == "scheduler" else self.which

    @precondition(lambda self: self.is_run and hasattr(self.command, "office"))
    @rule(kind=st.sampled_from((*DEATHS, *OUTAGES, *WISHES)))
    def disturb(self, kind: str) -> None:
        work = getattr(self.disturber, kind)(self.command)
        self.world.loop.create_task(work)
        self._do(asyncio.sleep(0.1))

    @rule(skew_s=st.sampled_from((-3600.0, -90.0, 90.0, 3600.0)))
    def set_a_clock(self, skew_s: float) -> None:
        self.world.skews[f"host-{self.hosts}"] = skew_s

    @invariant()
    def nothing_is_lost_or_written_twice(self) -> None:
        if hasattr(self, "watcher"):
            self.watcher.look()

    def teardown(self) -> None:
        """Faults off: the sweep, as its file is now, ends; and then there is nothing left to do."""
        if not hasattr(self, "world"):
            return
        try:
            self._end()
        finally:
            for task in asyncio.all_tasks(self.world.loop):
                task.cancel()
            self.world.loop.run_until_complete(asyncio.sleep(0))
            self.world.loop.close()
            self.engine.dispose()
            self.held.close()

    def _end(self) -> None:
        self._do(asyncio.sleep(300.0))
        self.world.faults = Faults()
        for _ in range(MOST_RUNS):
            if not self.is_run:
                self.run()
            assert self.running is not None
            self._do(asyncio.wait({self.running}, timeout=LONGEST_RUN_S))
            assert self.running.done(), "with all faults off, a run does not end"
            if self._is_done() and self.command is not None and self.command.plan == planned(self.file):
                break
            self._do(asyncio.sleep(AGAIN_S))
        else:
            raise AssertionError("with all faults off, the sweep never comes to its end")
        self._check()

    def _is_done(self) -> bool:
        assert self.running is not None
        if self.running.cancelled() or isinstance(self.running.exception(), LeaseHeld | Exception):
            return False
        return bool(self.running.result().state is SweepState.DONE)

    def _check(self) -> None:
        self.watcher.look()
        events = self.reader.events_since("tiny", 0, limit=1_000_000)
        check_events(events)
        check_offers(events, self.world.offers)
        check_answered(events, list(dict.fromkeys(self.world.answered)))
        if not any(event.kind is EventKind.RESCHEDULED for event in events):
            check_verdicts(events, planned(self.file).spec.scheduler)
        left = [row.key for row in self.reader.entries("tiny") if row.state not in SETTLED and row.cause is None]
        assert not left, f"done, and yet {left}"

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        self.world.loop.run_until_complete(work)

    async def _started(self, command: Command) -> "asyncio.Task[Any]":
        return command.start()
