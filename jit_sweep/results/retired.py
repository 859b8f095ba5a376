"""What a sweep has trained and its file plans no more."""

from collections.abc import Sequence

from jit_sweep.ledger.records import EntryRow, EntryState

_UNBEGUN = frozenset({EntryState.WAITING})


def retired(rows: Sequence[EntryRow]) -> list[EntryRow]:
    """Of all entries of a sweep those that have begun and whose trial and evaluation it plans no more, at no budget; of several
    budgets of one the furthest that is done, else the furthest."""
    shown = {_variant(row) for row in rows if not row.superseded}
    found: dict[tuple[str, str], EntryRow] = {}
    for row in sorted(rows, key=lambda row: (row.state is EntryState.DONE, row.images)):
        if row.superseded and _variant(row) not in shown and (row.attempt is not None or row.state not in _UNBEGUN):
            found[_variant(row)] = row
    return sorted(found.values(), key=lambda row: (row.stage, row.position, row.key))


def _variant(row: EntryRow) -> tuple[str, str]:
    return row.trial_id, row.evaluation_id
