"""One run of a sweep: ledger, cluster, driver and tracking put together, and taken apart again whatever happens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from jit_sweep.executor.cluster import local_cluster, running_cluster
from jit_sweep.executor.driver import Driver, Watch
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.home import Locations
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import this_process
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SETTLED, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.models.retention import apply_retention
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.places import places
from jit_sweep.schedulers.decide import Decider
from jit_sweep.search.proposer import Proposer
from jit_sweep.tracking.mirror import MirrorThread
from trainables.config.shape import SpeedShape

MIRROR_CLOSE_S = 60.0
INTERRUPTED_CLOSE_S = 3.0


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    state: SweepState
    reason: str = ""
    """Why it did not go to its end; empty where it did, and for an interrupt."""
    undelivered: int = 0
    """Ledger events that MLflow has not got; the next run delivers them."""


def run_sweep(
    plan: Plan,
    locations: Locations,
    *,
    address: str | None,
    watch: Watch,
    probed: Mapping[SpeedShape, float] | None = None,
    interrupt: Interrupt | None = None,
) -> RunResult:
    """Run a sweep to its end, or until it is interrupted. UserError: a part cannot be reached, or somebody else runs it.

    `probed`: images a second by shape, where `plan --probe` has measured them; `interrupt`: what has been asked so far.
    """
    sweep = plan.spec.name
    engine = open_engine(locations.ledger)
    reader = LedgerReader(engine)
    lease = acquire(engine, sweep, this_process())
    try:
        writer = LedgerWriter(engine, lease, decider=Decider(plan.spec.scheduler))
        writer.register(
            sweep, fingerprint=plan.fingerprint, identity=plan.identity, spec=plan.spec.model_dump(mode="json", by_alias=True)
        )
        writer.reopen(sweep)
        writer.plan_entries(sweep, plan.entries, places=places(plan.spec))
        if is_complete(plan, reader):
            writer.finish(sweep, SweepState.DONE)
            return RunResult(SweepState.DONE, undelivered=_mirror(plan, locations).close(MIRROR_CLOSE_S))
        with _cluster(address) as storage:
            mirror = _mirror(plan, locations)
            tune_storage = storage or f"{locations.storage}/ray"
            driver = Driver(plan, locations, reader, lease, tune_storage=tune_storage, probed=probed, interrupt=interrupt)
            ended = driver.to_end(watch)
        patience_s = INTERRUPTED_CLOSE_S if ended.state is SweepState.INTERRUPTED else MIRROR_CLOSE_S
        undelivered = mirror.close(patience_s)
    finally:
        lease.release()
    if ended.state is SweepState.DONE:
        apply_retention(reader, locations, sweep)
    return RunResult(ended.state, ended.reason, undelivered)


def is_complete(plan: Plan, reader: LedgerReader) -> bool:
    """Whether nothing is left to train or to propose."""
    rows = reader.entries(plan.spec.name)
    return all(row.state in SETTLED for row in rows) and Proposer(plan, reader).is_at_end(rows)


def _mirror(plan: Plan, locations: Locations) -> MirrorThread:
    """The thread that brings MLflow up to date, started."""
    reader = LedgerReader(open_engine(locations.ledger))
    mirror = MirrorThread(locations.tracking, reader, plan.spec.name, artifacts=locations.artifacts)
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
