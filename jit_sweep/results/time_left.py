"""When a running sweep will be done: what its trials still take, by what those that have ended took. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from jit_sweep.ledger.records import AttemptRow, EntryRow, EntryState
from jit_sweep.statistics.student_t import mean
from trainables.config.shape import SpeedShape, speed_shape
from trainables.networks.cost import forward_flops

MOST_ENDED = 4
"""Ended trials of a kind that count, the last ones: what else a machine does changes."""
LEAST_SHARE = 0.1
"""Of its images that a trial must have trained on before its mean speed says something."""
Alike = tuple[SpeedShape, int]
"""What trials that take as long have in common: shape and images."""


def time_left(rows: Sequence[EntryRow], *, later: int, now: float) -> float | None:
    """Seconds to the end, from what ended trials took; None until one has ended or shows its speed.

    `later`: proposals still to come, as long as the quickest trial.
    """
    running = [row for row in rows if row.state is EntryState.RUNNING and row.attempt]
    seen = _seen(rows)
    if not seen:
        return None
    waiting = [row for row in rows if row.state in (EntryState.WAITING, EntryState.PAUSED)]
    left = sum(_expected(row, seen) for row in waiting if not row.is_trained)
    left += sum(row.is_trained for row in waiting) * _scoring_s(rows)
    ended = any(map(_whole, rows))
    left += sum(_left(row, seen, now=now, ended=ended) for row in running)
    left += later * min(seconds for _, seconds in seen.values())
    return left / max(1, len(running))


def _left(row: EntryRow, seen: "_Seen", *, now: float, ended: bool) -> float:
    """Seconds that a running trial still takes: of what one like it took from its start to its score, else of its images."""
    assert row.attempt is not None
    whole = _expected(row, seen)
    if ended and row.attempt.number == 1:
        return max(0.0, whole - (now - row.attempt.started_at))
    return whole * (1 - row.attempt.images / row.images)


_Seen = Mapping[Alike, tuple[EntryRow, float]]
"""One trial of each kind, and the seconds that the whole of it takes."""


def _seen(rows: Sequence[EntryRow]) -> _Seen:
    """The mean of the last that have ended, and of those that run and already show that they take longer; of a kind of which
    none has ended, training at the speed it shows, and beside it what the others took besides training."""
    alike: defaultdict[Alike, list[EntryRow]] = defaultdict(list)
    for row in rows:
        if _whole(row) or _at_last_speed(row):
            alike[speed_shape(row.trial), row.images].append(row)
    beside = [max(0.0, _whole(row) - _at_last_speed(row)) for row in rows if _whole(row) and _at_last_speed(row)]
    return {kind: (of_kind[0], _takes(of_kind, mean(beside) if beside else 0.0)) for kind, of_kind in alike.items()}


def _takes(rows: Sequence[EntryRow], beside: float) -> float:
    """Seconds that trials of a kind take, of which one at least has ended or shows its speed."""
    ended = [_whole(row) for row in sorted(rows, key=lambda row: row.updated_at) if _whole(row)][-MOST_ENDED:]
    if not ended:
        return beside + mean([_at_mean_speed(row) or _at_last_speed(row) for row in rows])
    return mean([*ended, *(seconds for row in rows if (seconds := _at_mean_speed(row)) > mean(ended))])


def _whole(row: EntryRow) -> float:
    """Seconds from a trial's start to its score; 0 of one that has none of its own, and of one that was scored elsewhere."""
    attempt = row.attempt
    if row.state is not EntryState.DONE or row.cached or attempt is None or attempt.ended_at is None:
        return 0.0
    return 0.0 if _trained_nothing(attempt) else attempt.ended_at - attempt.started_at


def _trained_nothing(attempt: AttemptRow) -> bool:
    """Whether an attempt only scored what another one had trained."""
    return attempt.number > 1 and attempt.images_per_second is None


def _scoring_s(rows: Sequence[EntryRow]) -> float:
    """Mean seconds of the last attempts that only scored a trial; 0 before one has."""
    ended = [row.attempt for row in rows if row.state is EntryState.DONE and row.attempt and _trained_nothing(row.attempt)]
    took = [attempt.ended_at - attempt.started_at for attempt in ended if attempt.ended_at is not None]
    return mean(took[-MOST_ENDED:]) if took else 0.0


def _at_last_speed(row: EntryRow) -> float:
    """Seconds of the training of a trial at the speed that it last showed; 0 where it shows none."""
    attempt = row.attempt
    speed = attempt.images_per_second if attempt is not None and not row.cached else None
    return row.images / speed if speed else 0.0


def _at_mean_speed(row: EntryRow) -> float:
    """Seconds of start and training of a running trial at its mean speed so far; 0 where that says nothing yet."""
    attempt = row.attempt
    if row.state is not EntryState.RUNNING or attempt is None or attempt.number > 1:
        return 0.0
    if attempt.images < LEAST_SHARE * row.images:
        return 0.0
    return (attempt.updated_at - attempt.started_at) * row.images / attempt.images


def _expected(row: EntryRow, seen: _Seen) -> float:
    """Seconds of a whole trial: as those alike have shown, else by FLOPs from others."""
    if (like := seen.get((speed_shape(row.trial), row.images))) is not None:
        return like[1]
    other, seconds = next(iter(seen.values()))
    return seconds * forward_flops(row.trial) * row.images / (forward_flops(other.trial) * other.images)
