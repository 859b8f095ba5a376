"""The part of a run that needs Ray: the sweep's actor, Tune in a thread, and a watch over both."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.errors import UserError
from jit_sweep.executor import placement_groups, ray_internals
from jit_sweep.executor.actor import SILENT_S, StopState, SweepActor
from jit_sweep.executor.assignment import settings_of
from jit_sweep.executor.cluster import OWNER_CPU, concurrent_lanes, lost_nodes
from jit_sweep.executor.ending import STOPPING_S, RunEnd, run_end, tunes_after
from jit_sweep.executor.evaluators import Evaluators
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.executor.lane import LaneTrial
from jit_sweep.executor.lane_config import LaneConfig
from jit_sweep.executor.nowhere import nowhere
from jit_sweep.executor.outages import Outages, Surrounding
from jit_sweep.executor.searcher import LedgerSearcher
from jit_sweep.executor.tune_search import ActorCalls, TuneSearcher, WarmLanesFirst
from jit_sweep.home import Locations
from jit_sweep.ledger.connect import DatabaseAway, is_away, unusable
from jit_sweep.ledger.lease import Lease
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepState
from jit_sweep.plan.entry import Plan
from jit_sweep.redact import redact
from trainables.config.shape import SpeedShape

_log = logging.getLogger(__name__)
FINISH_S = 10.0
LOOK_S = 0.25
"""How often the main thread looks for an interrupt and redraws."""
ROUND_S = 2.0
"""How often it looks for groups that nobody owns, and at the budget."""
Watch = Callable[[LedgerReader, bool], None]
"""Called now and then with the ledger's reader and whether the run is stopping."""


class Driver:
    """Runs a sweep's trials on the cluster that this process is connected to. UserError: that does not hold one lane."""

    def __init__(
        self,
        plan: Plan,
        locations: Locations,
        reader: LedgerReader,
        lease: Lease,
        *,
        probed: Mapping[SpeedShape, float] | None = None,
        lane: type[LaneTrial] = LaneTrial,
        silent_s: float = SILENT_S,
        interrupt: Interrupt | None = None,
        outages: Outages | None = None,
    ) -> None:
        self.outages = outages or Outages(_log.warning)
        self.plan, self.locations, self.reader, self.lease = plan, locations, reader, lease
        self.lane, self.silent_s = lane, silent_s
        self.sweep = plan.spec.name
        self.interrupt = interrupt or Interrupt()
        self.stopping = threading.Event()
        self.reason, self.failure, self.ledger_away = "", "", ""
        self.crash: BaseException | None = None
        self.probed = dict(probed or {})
        self.guard = BudgetGuard(plan.spec, reader, probed=probed)
        self.lanes = self.most_lanes = concurrent_lanes(plan.spec.resources, plan.spec.evaluator)
        placement_groups.remove_orphans()
        self.lane_config = LaneConfig(actor=f"{self.sweep}-{lease.epoch}-{os.getpid()}", resources=plan.spec.resources)
        self.actor = self._started_actor()
        self.searcher = self._searcher()
        self.evaluators = Evaluators(
            plan.spec.evaluator,
            actor=self.lane_config.actor,
            entries=LiveEntries(reader, self.sweep),
            office=ActorCalls(self.actor),
            guard=self.guard,
            stopping=self.stopping.is_set,
        )

    def to_end(self, watch: Watch) -> RunEnd:
        """Run until nothing is left to do, or until something asks to stop."""
        ended = RunEnd(SweepState.FAILED)
        with ExitStack() as ending:
            ending.callback(placement_groups.remove_own)
            ending.callback(lambda: self._finish(ended))
            ending.callback(self.evaluators.close)
            with self.interrupt.listening():
                self._tune_and_watch(watch)
            ended = self._ended()
        return ended

    def _ended(self) -> RunEnd:
        try:
            rows, unplanned = self.reader.entries(self.sweep), self.searcher.unplanned
        except DatabaseAway as error:
            _log.warning("how the trials stand at the end cannot be read: %s", error)
            return RunEnd(SweepState.FAILED, self.failure or "the ledger cannot be read at the end of the run")
        return run_end(
            rows,
            failure=self.failure,
            stopping=self.stopping.is_set(),
            reason=self.reason,
            refused=self.searcher.refused,
            unplanned=unplanned,
        )

    def _finish(self, ended: RunEnd) -> None:
        """Record how the run ended; a sweep that another run has taken over, or an actor that is gone, says so itself."""
        try:
            asked = self.actor.finish.remote(ended.state, ended.reason, goes_on=tunes_after(self.plan, ended))
            ray.get(asked, timeout=FINISH_S)
        except ray.exceptions.RayError as error:
            _log.warning("the end of the run was not recorded: %s", error)

    def _started_actor(self) -> Any:
        # Killed, it starts again from the ledger, and what was asked of it is asked again.
        again = {"max_restarts": -1, "max_task_retries": -1}
        actor_class: Any = ray.remote(num_cpus=0, max_concurrency=1000, **again)(SweepActor)
        # On this node: the ledger may be a file that only it has.
        this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = actor_class.options(name=self.lane_config.actor, scheduling_strategy=this_node).remote(
            self.locations.ledger,
            spec=self.plan.spec,
            epoch=self.lease.epoch,
            owner=self.lease.owner,
            settings=settings_of(self.plan.spec, self.locations),
            probed=self.probed,
            lost_nodes=lost_nodes,
            silent_s=self.silent_s,
        )
        ray.get(actor.settle.remote())
        return actor

    def _tune_and_watch(self, watch: Watch) -> None:
        """Tune in a thread of its own; this one redraws, hears interrupts, and clears up after what has died."""
        thread = threading.Thread(target=self._tune, daemon=True)
        thread.start()
        round_at, asked = time.monotonic(), self.actor.stop_state.remote()
        while (thread.is_alive() or self.evaluators.busy) and not self._waits_in_vain():
            if self.interrupt.asked.is_set():
                self._stop()
            if ray.wait([asked], timeout=0)[0]:
                state: StopState = ray.get(asked)
                self._heard(state)
                if state.stopping or self.stopping.is_set():
                    self._stop()
                asked = self.actor.stop_state.remote()
            if time.monotonic() - round_at > ROUND_S:
                self._reading(self._go_round)
                round_at = time.monotonic()
            self._reading(lambda: watch(self.reader, self.stopping.is_set()))
            self._reading(self.evaluators.look)
            thread.join(LOOK_S)
            if not thread.is_alive():
                self.evaluators.wait(LOOK_S)
        self._reading(lambda: watch(self.reader, self.stopping.is_set()))
        with suppress(ray.exceptions.RayError):  # what stopped the sweep, or kept it from saving, may have come last
            self._heard(ray.get(self.actor.stop_state.remote(), timeout=FINISH_S))
        if self.crash is not None:
            raise self.crash

    def _heard(self, state: StopState) -> None:
        self.failure = state.failure or self.failure
        self.ledger_away = state.ledger_away
        self.outages.note(Surrounding.STORAGE, state.storage_away)

    def _waits_in_vain(self) -> bool:
        """Whether what was asked to save has had its time, and cannot say so to a ledger that is away."""
        return self.stopping.is_set() and self.outages.lasts_s(Surrounding.LEDGER) > STOPPING_S

    def _reading(self, look: Callable[[], None]) -> None:
        """Look into the ledger; one that is away for a while ends no run."""
        away = self.ledger_away
        try:
            look()
        except DatabaseAway as error:
            away = unusable(error)
            if not away and not is_away(error):
                raise
            away = away or str(error.orig or error)
            _log.warning("the ledger cannot be read: %s", error)
        self.outages.note(Surrounding.LEDGER, redact(away))

    def _go_round(self) -> None:
        placement_groups.remove_ownerless()
        # Again and again: a killed driver's controllers may register a group after this run's start.
        placement_groups.remove_orphans()
        # A lost node takes its lanes with it: a trial that were given to one more would wait there for its place.
        with suppress(UserError):  # not even one is left: what comes back may hold them all
            self.lanes = min(self.most_lanes, concurrent_lanes(self.plan.spec.resources, self.plan.spec.evaluator))
        held = f"{self.lanes} of {self.most_lanes} trials have a place" if self.lanes < self.most_lanes else ""
        self.outages.note(Surrounding.NODES, held)
        if not self.stopping.is_set() and (over := self.guard.is_over()):
            self.reason = over
            self._stop()

    def _stop(self) -> None:
        """Ask every trial to save and pause; asked again and again, it is heard by an actor that was restarted."""
        self.stopping.set()
        self.actor.stop.remote(self.failure)

    def _tune(self) -> None:
        ray_internals.keep_credentials_here()
        try:
            self._tuner().fit()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self.crash = error

    def _searcher(self) -> LedgerSearcher:
        return LedgerSearcher(
            self.plan,
            self.reader,
            ActorCalls(self.actor),
            lanes=lambda: self.lanes,
            guard=self.guard,
            stopping=self.stopping.is_set,
        )

    def _tuner(self) -> tune.Tuner:
        return tune.Tuner(
            tune.with_resources(self.lane, {"CPU": OWNER_CPU}),
            tune_config=tune.TuneConfig(
                search_alg=TuneSearcher(self.searcher, self.lane_config),
                scheduler=WarmLanesFirst(),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name=self.sweep, verbose=0, **nowhere()),
        )
