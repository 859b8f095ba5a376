"""What went wrong, by cause: trials that ended without a score, and attempts that had to be made again. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.ledger.records import LOST, AttemptRow, Cause, EntryRow
from search_spaces.cells import arm_label

MOST_CELLS = 4
"""Cells that a row names."""


@dataclass(frozen=True)
class Loss:
    """One cause."""

    cause: str
    trials: int
    """That ended without a score by it."""
    attempts: int
    """That ended by it and were made again."""
    cells: tuple[str, ...]
    """Those of its trials, the first few."""
    first_bad_step: int | None
    """The earliest step at which a trial diverged by it."""
    detail: str
    """What the first of them said."""


def losses(entries: Sequence[EntryRow], attempts: Sequence[AttemptRow]) -> list[Loss]:
    """A row for each cause, the one that lost most trials first."""
    ended: defaultdict[str, list[EntryRow]] = defaultdict(list)
    for row in entries:
        if row.state in LOST:
            ended[str(row.cause or row.state)].append(row)
    last = {(row.trial_id, row.attempt.number) for row in entries if row.state in LOST and row.attempt}
    again: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in attempts:
        if attempt.cause not in (None, Cause.CANCELLED) and (attempt.trial_id, attempt.number) not in last:
            again[str(attempt.cause)].append(attempt)
    rows = [_loss(cause, ended[cause], again[cause]) for cause in {**ended, **again}]
    return sorted(rows, key=lambda row: (-row.trials, -row.attempts, row.cause))


def _loss(cause: str, entries: Sequence[EntryRow], again: Sequence[AttemptRow]) -> Loss:
    steps = [row.attempt.first_bad_step for row in entries if row.attempt and row.attempt.first_bad_step is not None]
    cells = dict.fromkeys(arm_label(row.arm) for row in entries)
    details = [row.detail for row in entries] + [attempt.detail or "" for attempt in again]
    return Loss(
        cause=cause,
        trials=len(entries),
        attempts=len(again),
        cells=tuple(cells)[:MOST_CELLS],
        first_bad_step=min(steps, default=None),
        detail=next(filter(None, details), ""),
    )
