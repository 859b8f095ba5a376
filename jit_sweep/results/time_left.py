"""When a running sweep will be done: what its trials still take, by what those that have ended took. Pure."""

from collections.abc import Mapping, Sequence

from jit_sweep.ledger.records import EntryRow, EntryState
from trainables.config.shape import SpeedShape, speed_shape
from trainables.networks.cost import forward_flops


def time_left(rows: Sequence[EntryRow], *, later: int, now: float) -> float | None:
    """Seconds to the end, from what ended trials took per FLOP and image; None until one has ended or shows its speed."""
    running = [row for row in rows if row.state is EntryState.RUNNING and row.attempt]
    seen = {_shape(row): row for row in sorted(rows, key=lambda row: row.state is EntryState.DONE) if _seconds(row)}
    if not seen:
        return None
    left = sum(_expected(row, seen) for row in rows if row.state in (EntryState.WAITING, EntryState.PAUSED))
    left += sum(_left(row, seen, now=now) for row in running)
    left += later * min(_seconds(row) for row in seen.values())
    return left / max(1, len(running))


def _left(row: EntryRow, seen: Mapping[tuple[SpeedShape, int], EntryRow], *, now: float) -> float:
    """Seconds that a running trial still takes: of what one like it took from its start to its score, else of its images."""
    assert row.attempt is not None
    whole = _expected(row, seen)
    if any(other.state is EntryState.DONE for other in seen.values()) and row.attempt.number == 1:
        return max(0.0, whole - (now - row.attempt.started_at))
    return whole * (1 - row.attempt.images / row.images)


def _shape(row: EntryRow) -> tuple[SpeedShape, int]:
    """What trials that take as long have in common."""
    return speed_shape(row.trial), row.images


def _seconds(row: EntryRow) -> float:
    """What a whole trial of this shape takes, as seen on this row; 0 where nothing is seen."""
    attempt = row.attempt
    if attempt is None or row.cached:
        return 0.0
    if row.state is EntryState.DONE and attempt.ended_at:
        return attempt.ended_at - attempt.started_at
    return row.images / attempt.images_per_second if attempt.images_per_second else 0.0


def _expected(row: EntryRow, seen: Mapping[tuple[SpeedShape, int], EntryRow]) -> float:
    """Seconds of a whole trial: as one of its shape has shown, else by FLOPs from another."""
    if (like := seen.get(_shape(row))) is not None:
        return _seconds(like)
    other = next((row for row in seen.values() if row.state is EntryState.DONE), next(iter(seen.values())))
    return _seconds(other) * forward_flops(row.trial) * row.images / (forward_flops(other.trial) * other.images)
