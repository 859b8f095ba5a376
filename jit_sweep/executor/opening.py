"""How a run takes its sweep up in the ledger, before anything is started. Free of Ray."""

from jit_sweep.ledger.asked import asked_by
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SETTLED
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.places import places
from jit_sweep.search.proposer import Proposer


def take_up(plan: Plan, writer: LedgerWriter) -> None:
    """Enter a sweep, or go on with it, as its file has it now. UserError: the name belongs to a sweep of another identity."""
    sweep = plan.spec.name
    spec = plan.spec.model_dump(mode="json", by_alias=True)
    writer.register(sweep, fingerprint=plan.fingerprint, identity=plan.identity, spec=spec)
    writer.ask(sweep, asked_by(plan))
    writer.reopen(sweep)
    writer.plan_entries(sweep, plan.entries, places=places(plan.spec))


def is_complete(plan: Plan, reader: LedgerReader) -> bool:
    """Whether nothing is left to train or to propose."""
    rows = reader.entries(plan.spec.name)
    return all(row.state in SETTLED for row in rows) and Proposer(plan, reader).is_at_end(rows)
