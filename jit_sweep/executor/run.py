"""One run of a sweep: ledger, cluster, driver and tracking put together, and taken apart again whatever happens."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.errors import UserError
from jit_sweep.executor.cluster import local_cluster, running_cluster
from jit_sweep.executor.driver import Driver, Watch
from jit_sweep.executor.ending import RunEnd, tunes_after
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.executor.opening import end_at_once, take_up
from jit_sweep.executor.outages import Outages, Surrounding
from jit_sweep.executor.sampling_tuning import SamplingTuning, budget_ended
from jit_sweep.home import Home, Locations
from jit_sweep.inference.trained import Places
from jit_sweep.ledger.connect import DatabaseAway, open_engine
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.holder import this_process
from jit_sweep.ledger.lease import Lease, LeaseLost, acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepState
from jit_sweep.ledger.refusals import OtherSweep
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.models.retention import apply_retention
from jit_sweep.plan.entry import Plan
from jit_sweep.redact import redact
from jit_sweep.results.tuned_sampling import untuned
from jit_sweep.schedulers.decide import Decider
from jit_sweep.tracking.mirror import Mirror, MirrorThread
from trainables.config.shape import SpeedShape

MIRROR_CLOSE_S = 60.0
INTERRUPTED_CLOSE_S = 3.0
CATCHING_UP = "MLflow gets what it has not got yet"


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
    home: Home,
    *,
    address: str | None,
    watch: Watch,
    probed: Mapping[SpeedShape, float] | None = None,
    interrupt: Interrupt | None = None,
    tell: Callable[[str], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
) -> RunResult:
    """Run a sweep to its end, or until it is interrupted. UserError: a part cannot be reached, or somebody else runs it.

    `probed`: images a second by shape, where `plan --probe` has measured them; `interrupt`: what has been asked so far;
    `tell`: hears what is done before and after the trials; `remark`: what is away meanwhile, and what is back.
    """
    sweep, locations, outages = plan.spec.name, home.locations(plan.spec), Outages(remark)
    engine = open_engine(locations.ledger)
    reader = LedgerReader(engine)
    lease = acquire(engine, sweep, this_process())
    writer = LedgerWriter(engine, lease, decider=Decider(plan.spec.scheduler))
    with _recorded(sweep, writer, reader, lease):
        take_up(plan, writer, reader)
        guard = BudgetGuard(plan.spec, reader, probed=probed)
        ended = end_at_once(plan, writer, reader, guard=guard)
        if ended is not None and _has_to_tune(plan, ended, reader) and (over := guard.is_over()):
            ended = budget_ended(over)
        if ended is not None and not _has_to_tune(plan, ended, reader):
            writer.finish(sweep, ended.state, reason=ended.reason)
            if ended.reason:
                tell("nothing is trained and no Ray started, since the budget holds nothing more")
            tell(CATCHING_UP)
            mirror = _mirror(plan, locations, lease, outages)
            return RunResult(ended.state, ended.reason, undelivered=_closed(mirror, MIRROR_CLOSE_S))
        tell("starting Ray" if address is None else f"connecting to Ray at {address}")
        with local_cluster(tell) if address is None else running_cluster(address):
            mirror = _mirror(plan, locations, lease, outages)
            if ended is None:
                driver = Driver(plan, locations, reader, lease, probed=probed, interrupt=interrupt, outages=outages)
                ended = driver.to_end(watch)
            if tunes_after(plan, ended):
                log, places = EvaluationLog(open_engine(locations.ledger)), Places(home, reader, locations.tracking)
                ended = SamplingTuning(plan, places, log, lease, guard, interrupt or Interrupt(), tell).to_end()
            _record(ended, sweep, writer, reader)
        patience_s = INTERRUPTED_CLOSE_S if ended.state is SweepState.INTERRUPTED else MIRROR_CLOSE_S
        tell(CATCHING_UP)
        undelivered = _closed(mirror, patience_s)
    if ended.state is SweepState.DONE:
        apply_retention(reader, locations, sweep)
    return RunResult(ended.state, ended.reason, undelivered)


@contextmanager
def _recorded(sweep: str, writer: LedgerWriter, reader: LedgerReader, lease: Lease) -> Iterator[None]:
    """A run of a sweep: what ends it is recorded, whatever that is, and the next one may begin."""
    try:
        yield
    except OtherSweep:
        raise  # the sweep of this name has not run
    except BaseException as error:
        _record(_cut_short(error), sweep, writer, reader)
        raise
    finally:
        with suppress(DatabaseAway):  # it runs out by itself
            lease.release()


def _record(ended: RunEnd, sweep: str, writer: LedgerWriter, reader: LedgerReader) -> None:
    """Record how a run ended, unless that is known.

    Nothing is written of a sweep that was never entered, to a ledger that is away, or where another run took over.
    """
    with suppress(UserError, DatabaseAway, LeaseLost):
        if reader.sweep(sweep).state is SweepState.RUNNING:
            writer.finish(sweep, ended.state, reason=ended.reason)


def _cut_short(error: BaseException) -> RunEnd:
    """The end of a run by an error."""
    if isinstance(error, KeyboardInterrupt):
        return RunEnd(SweepState.INTERRUPTED)
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RunEnd(SweepState.FAILED, redact(said if isinstance(error, UserError) else f"an error ended it: {said}"))


def _has_to_tune(plan: Plan, ended: RunEnd, reader: LedgerReader) -> bool:
    """Whether trials of a sweep whose training is done are still to be tuned."""
    return tunes_after(plan, ended) and bool(untuned(plan.spec, reader))


def _closed(mirror: MirrorThread, patience_s: float) -> int:
    """Close the mirror; the events that MLflow has not got, none where a ledger that is away cannot be asked."""
    try:
        return mirror.close(patience_s)
    except DatabaseAway:
        return 0


def _mirror(plan: Plan, locations: Locations, lease: Lease, outages: Outages) -> MirrorThread:
    """The thread that brings MLflow up to date, started."""
    reader = LedgerReader(open_engine(locations.ledger))
    name, artifacts, storage = plan.spec.name, locations.artifacts, locations.storage
    mirror = Mirror(locations.tracking, reader, name, artifacts=artifacts, storage=storage, ours=lease.is_ours)
    thread = MirrorThread(mirror, away=partial(outages.note, Surrounding.MLFLOW))
    thread.start()
    return thread
