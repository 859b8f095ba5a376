"""Whether the budget holds a trial at the moments at which it asks a second time: as it begins, and at its gates."""

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.records import EntryState


class Purse:
    """A sweep's budget against its entries as the ledger has them."""

    def __init__(self, guard: BudgetGuard, entries: LiveEntries) -> None:
        self._guard, self._entries = guard, entries

    def dear_behind(self, trial: str, images: int) -> str:
        """Why a running trial may not go on past a rung; empty where it may. Asked at a gate of all that it runs for."""
        rows = self._entries.rows()
        served = [row for row in rows if row.trial_id == trial and row.state is EntryState.RUNNING]
        if not served or not all(images in row.gates for row in served):
            return ""
        return self._guard.refusal_at_gate(served[0], images, rows=rows)

    def is_too_dear(self, trial: str, images: int) -> bool:
        """Whether a trial that was to begin no longer may: another has taken what was left, past a gate."""
        rows = self._entries.rows()
        wanted = [row for row in rows if (row.trial_id, row.images) == (trial, images)]
        return bool(wanted) and bool(self._guard.refusals(rows)(wanted[0]))
