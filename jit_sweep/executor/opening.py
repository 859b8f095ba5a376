"""How a run takes its sweep up in the ledger, before anything is started. Free of Ray."""

import time
from collections.abc import Callable, Sequence

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.executor.ending import RunEnd, run_end
from jit_sweep.executor.schedule import Over
from jit_sweep.executor.searcher import LedgerSearcher
from jit_sweep.ledger.asked import asked_by
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.places import places
from jit_sweep.results.further import with_further
from jit_sweep.results.leaderboard import marks_of


def take_up(plan: Plan, writer: LedgerWriter, reader: LedgerReader) -> None:
    """Enter a sweep, or go on with it, as its file has it now. UserError: the name belongs to a sweep of another identity."""
    sweep = plan.spec.name
    spec = plan.spec.model_dump(mode="json", by_alias=True)
    writer.register(sweep, fingerprint=plan.fingerprint, identity=plan.identity, spec=spec)
    writer.ask(sweep, asked_by(plan))
    writer.reopen(sweep)
    whole = with_further(plan, reader.entries(sweep), reader.scores(sweep), marks=marks_of(reader.heldout(sweep)))
    writer.plan_entries(sweep, whole.entries, places=places(plan.spec))


def end_at_once(
    plan: Plan, writer: LedgerWriter, reader: LedgerReader, *, guard: BudgetGuard, clock: Callable[[], float] = time.time
) -> RunEnd | None:
    """How a run ends that has nothing to train, be it that the budget holds nothing more; None where it has something."""
    sweep = plan.spec.name
    office = _Desk(writer, sweep)
    searcher = LedgerSearcher(
        plan, reader, office, lanes=lambda: 1, guard=guard, stopping=lambda: False, clock=clock, monotonic=clock
    )
    if not isinstance(searcher.suggest(sweep), Over):
        return None
    rows, refused, unplanned = reader.entries(sweep), searcher.refused, searcher.unplanned
    return run_end(rows, failure="", stopping=False, reason="", refused=refused, unplanned=unplanned)


class _Desk:
    """A sweep's office while nothing is trained: the run's own process writes the ledger."""

    def __init__(self, writer: LedgerWriter, sweep: str) -> None:
        self._writer, self._sweep = writer, sweep

    def add_entries(self, entries: Sequence[Entry], retired: Sequence[str] = ()) -> None:
        self._writer.add_entries(self._sweep, entries, retired=retired)

    def searched(self, stage: str) -> None:
        self._writer.searched(self._sweep, stage)

    def end_budget(self, keys: Sequence[str], why: str) -> None:
        self._writer.end_budget(self._sweep, keys, why=why)

    def settle(self) -> None:
        self._writer.settle(self._sweep)

    def give_up(self, trial: str) -> Cause | None:
        raise AssertionError(f"nothing is given to lanes yet, got {trial}")

    def stop(self, failure: str = "") -> None:
        raise AssertionError(f"nothing runs yet, got {failure}")
