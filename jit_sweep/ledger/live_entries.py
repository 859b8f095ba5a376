"""A sweep's entries for whoever asks again and again: only what has changed is read."""

from collections.abc import Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow


class LiveEntries:
    """The entries of one sweep as they stand, in the order of the plan. A row that has not changed stays the same object."""

    def __init__(self, reader: LedgerReader, sweep: str) -> None:
        self._reader, self._sweep = reader, sweep
        self._rows: Sequence[EntryRow] = ()
        self._seen = 0

    def rows(self) -> Sequence[EntryRow]:
        """The entries as of the sweep's last event."""
        last = self._reader.last_event(self._sweep)
        if last != self._seen:
            changed = self._reader.trials_changed_since(self._sweep, self._seen)
            self._rows = self._all() if changed is None else self._those(changed)
            self._seen = last
        return self._rows

    def _all(self) -> list[EntryRow]:
        before = {row.key: row for row in self._rows}
        return [_kept(before.get(row.key), row) for row in self._reader.entries(self._sweep)]

    def _those(self, trials: frozenset[str]) -> list[EntryRow]:
        fresh = {row.key: row for row in self._reader.entries(self._sweep, trials=trials)}
        return [fresh.get(row.key, row) for row in self._rows]


def _kept(before: EntryRow | None, now: EntryRow) -> EntryRow:
    """The row from before where it says the same: what was worked out from it need not be worked out again."""
    return before if before is not None and before == now else now
