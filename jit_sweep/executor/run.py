"""One run of a sweep: ledger, cluster, lanes and tracking put together, and taken apart again whatever happens."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jit_sweep.errors import UserError
from jit_sweep.executor import groups
from jit_sweep.executor.actor import Source, SweepActor
from jit_sweep.executor.lane import OWNER_CPU, LaneTrial
from jit_sweep.executor.local import local_cluster, running_cluster
from jit_sweep.executor.searcher import LedgerSearcher
from jit_sweep.home import Places
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import Lease, acquire, this_process
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SETTLED, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan import Plan, proposals
from jit_sweep.spec import FileData, Resources
from jit_sweep.tracking.mirror import MirrorThread

_log = logging.getLogger(__name__)
LANE_RETRIES = 2
"""How often a trial whose lane died is tried again."""
FINISH_S = 10.0
LOOK_S = 0.25
"""How often the main thread looks for an interrupt and redraws."""
MIRROR_CLOSE_S = 60.0
INTERRUPTED_CLOSE_S = 3.0


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    state: SweepState
    undelivered: int = 0
    """Ledger events that MLflow has not got; the next run delivers them."""


class Interrupt:
    """The first SIGINT or SIGTERM asks trials to save and pause; the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Install the handlers; after ray.init, which brings its own."""
        before = {kind: signal.signal(kind, self._handle) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _handle(self, kind: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(130)
        self.asked.set()


def run_sweep(plan: Plan, places: Places, *, address: str | None, watch: Callable[[LedgerReader, bool], None]) -> Ran:
    """Run a sweep to its end, or until it is interrupted. `watch` is called now and then with the ledger's reader and whether
    an interrupt was asked for. UserError: a part cannot be reached, or somebody else runs this sweep."""
    sweep = plan.spec.name
    engine = open_engine(places.ledger)
    reader = LedgerReader(engine)
    lease = acquire(engine, sweep, this_process())
    try:
        writer = LedgerWriter(engine, lease)
        writer.register(
            sweep, fingerprint=plan.fingerprint, facts=plan.facts, spec=plan.spec.model_dump(mode="json", by_alias=True)
        )
        writer.reopen(sweep)
        writer.plan_entries(sweep, plan.entries)
        if is_complete(plan, reader):
            writer.finish(sweep, SweepState.DONE)
            return Ran(SweepState.DONE, _mirror(plan, places).close(MIRROR_CLOSE_S))
        with _cluster(address) as storage:
            return _Run(plan, places, reader, lease, watch=watch, tune_storage=storage or f"{places.storage}/ray").to_end()
    finally:
        lease.release()


def is_complete(plan: Plan, reader: LedgerReader) -> bool:
    """Whether nothing is left to train or to propose."""
    rows = reader.entries(plan.spec.name)
    proposed = all(sum(row.stage == stage for row in rows) >= count for stage, count in proposals(plan).items())
    return proposed and all(row.state in SETTLED for row in rows)


def _mirror(plan: Plan, places: Places) -> MirrorThread:
    """Brings MLflow up to date from here on."""
    reader = LedgerReader(open_engine(places.ledger))
    mirror = MirrorThread(places.tracking, reader, plan.spec.name, artifacts=places.artifacts)
    mirror.start()
    return mirror


@contextmanager
def _cluster(address: str | None) -> Iterator[str | None]:
    """Connected to Ray; yields a folder for Tune where the cluster is this command's own."""
    if address is None:
        with local_cluster() as folder:
            yield str(folder / "tune")
    else:
        with running_cluster(address):
            yield None


class _Run:
    """The part of a run that needs Ray."""

    def __init__(
        self,
        plan: Plan,
        places: Places,
        reader: LedgerReader,
        lease: Lease,
        *,
        watch: Callable[[LedgerReader, bool], None],
        tune_storage: str,
    ) -> None:
        self.plan, self.places, self.reader, self.lease = plan, places, reader, lease
        self.watch, self.tune_storage = watch, tune_storage
        self.interrupt = Interrupt()
        self.failure: BaseException | None = None
        self.sweep = plan.spec.name
        self.actor_name = f"{self.sweep}-{lease.epoch}-{os.getpid()}"

    def to_end(self) -> Ran:
        lanes = concurrent_lanes(self.plan.spec.resources)
        groups.remove_orphans()
        self.actor = self._actor()
        mirror = _mirror(self.plan, self.places)
        state = SweepState.FAILED
        with ExitStack() as ending:
            ending.callback(groups.remove_own)
            ending.callback(lambda: self._finish(state))
            with self.interrupt.listening():
                self._tune_and_watch(lanes)
            state = SweepState.INTERRUPTED if self.interrupt.asked.is_set() else SweepState.DONE
        return Ran(state, mirror.close(INTERRUPTED_CLOSE_S if state is SweepState.INTERRUPTED else MIRROR_CLOSE_S))

    def _finish(self, state: SweepState) -> None:
        """Record how the run ended; a sweep that another run has taken over, or an actor that is gone, says so itself."""
        try:
            ray.get(self.actor.finish.remote(state), timeout=FINISH_S)
        except ray.exceptions.RayError as error:
            _log.warning("the end of the run was not recorded: %s", error)

    def _actor(self) -> Any:
        data, resources = self.plan.spec.data, self.plan.spec.resources
        source = Source(
            data=data.uri if isinstance(data, FileData) else data.name,
            holdout=data.holdout if isinstance(data, FileData) else None,
            storage=self.places.storage,
            checkpoint_interval_s=resources.checkpoint_interval_s,
            memory_bytes=round(resources.memory_gib * 2**30) if resources.memory_gib else None,
            micro_batch=resources.micro_batch,
            activation_checkpointing=resources.activation_checkpointing,
        )
        actor_class: Any = ray.remote(num_cpus=0, max_concurrency=1000)(SweepActor)
        # On this node: the ledger may be a file here.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = actor_class.options(name=self.actor_name, scheduling_strategy=here).remote(
            self.places.ledger, sweep=self.sweep, epoch=self.lease.epoch, owner=self.lease.owner, source=source
        )
        ray.get(actor.settle.remote())
        return actor

    def _tune_and_watch(self, lanes: int) -> None:
        """Tune in a thread of its own; this one redraws and hears interrupts."""
        thread = threading.Thread(target=self._tune, args=(lanes,), daemon=True)
        thread.start()
        told = False
        while thread.is_alive():
            if self.interrupt.asked.is_set() and not told:
                self.actor.stop.remote()
                told = True
            self.watch(self.reader, told)
            thread.join(LOOK_S)
        self.watch(self.reader, told)
        if self.failure is not None:
            raise self.failure

    def _tune(self, lanes: int) -> None:
        try:
            self._tuner(lanes).fit()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self.failure = error

    def _tuner(self, lanes: int) -> tune.Tuner:
        lane_config = {
            "actor": self.actor_name,
            "resources": self.plan.spec.resources.model_dump(),
            "storage": f"{self.tune_storage}/lanes",
        }
        searcher = LedgerSearcher(
            self.plan,
            self.reader,
            self.actor,
            lanes=lanes,
            lane_config=lane_config,
            stopping=self.interrupt.asked.is_set,
        )
        return tune.Tuner(
            tune.with_resources(LaneTrial, {"CPU": OWNER_CPU}),
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name=self.sweep,
                storage_path=self.tune_storage,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=LANE_RETRIES),
            ),
        )


def concurrent_lanes(resources: Resources) -> int:
    """How many lanes to have at once: what the cluster holds, at most what the file asks for. UserError: not even one.

    Tune does not count Train's workers; without this limit half-placed groups would wait for each other. An autoscaled
    cluster may hold nothing when the sweep starts: there the number in the file is taken as it is.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    lanes = sum(_workers_on(node, resources) for node in nodes) // resources.workers
    if lanes >= 1:
        return min(lanes, resources.concurrent or lanes)
    if resources.concurrent is not None:
        return resources.concurrent
    asked = f"{resources.workers} x ({resources.cpus:g} CPU, {resources.gpus:g} GPU)"
    there = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
    rule = f"`resources` must fit the cluster's nodes, got {asked} for one trial where there are {there}"
    raise UserError(f"{rule}; ask for less, or give `concurrent` where the cluster grows by itself")


def _workers_on(node: dict[str, float], resources: Resources) -> int:
    fits = [int(node.get("CPU", 0) / resources.cpus + 1e-6)]
    if resources.gpus:
        fits.append(int(node.get("GPU", 0) / resources.gpus + 1e-6))
    return min(fits)
