"""What a sweep cost, by what came of it. Pure functions of the ledger's rows.

An attempt that was lost keeps the part up to its last checkpoint, as the next one goes on from there; images stand for time
within an attempt. Device-hours are those that a trial's workers were held for, at the size that the sweep file asks for now.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, AttemptRow, Cause, CostRow, EntryRow, EntryState, ScoreRow
from jit_sweep.spec.sweep import Resources

HOUR_S = 3600.0
OWN_FAULTS = frozenset({Cause.BUG, Cause.DATA_ERROR, Cause.INFEASIBLE, Cause.DIVERGED})
"""Causes that lie in the trial itself; with any other the same work is done once more."""
Key = tuple[str, int]
"""An attempt: its trial and number."""


class CostOutcome(StrEnum):
    """What time was spent on, and what came of it."""

    USEFUL = "useful"
    """Training of trials that were scored."""
    UNFINISHED = "unfinished"
    """Training that trials still to be ended go on from."""
    PRUNED = "pruned"
    """Training of trials that a scheduler ended early."""
    FAILED = "failed"
    """Training that came to nothing by the trial's own fault."""
    RETRIED = "retried"
    """Work that was lost, and had to be done again."""
    EVALUATION = "evaluation"
    """Rungs and scores, of all trials."""
    OVERHEAD = "overhead"
    """Workers held, but not at work: a trial's start and end."""


@dataclass(frozen=True)
class Cost:
    """A sum over attempts."""

    seconds: float = 0.0
    device_hours: float = 0.0
    attempts: int = 0


@dataclass(frozen=True)
class Costs:
    """A sweep's cost as it stands."""

    unit: Literal["GPU", "CPU"]
    """What a device is: a GPU, or a CPU where trials have no GPU."""
    by_outcome: Mapping[CostOutcome, Cost]
    """Every outcome, those that cost nothing too."""
    saved: Cost
    """What the trials whose scores were there before cost whoever made them, each once."""

    @property
    def total(self) -> Cost:
        """All that this sweep spent."""
        costs = self.by_outcome.values()
        return Cost(sum(c.seconds for c in costs), sum(c.device_hours for c in costs))


class Piece(NamedTuple):
    """Some seconds of an attempt."""

    on: CostOutcome
    seconds: float
    attempt: Key


def read_costs(reader: LedgerReader, sweep: str) -> Costs:
    """A sweep's cost. UserError: the ledger has no such sweep."""
    found, now = reader.sweep(sweep), time.time()
    attempts = reader.attempts_at_trials(sweep)
    makers = {sweep, *(attempt.sweep for attempt in attempts)}
    return costs(
        sweep,
        resources={row.name: resources_of(row.spec) for row in reader.sweeps() if row.name in makers},
        attempts=attempts,
        seconds=reader.cost(sweep),
        entries=reader.entries(sweep),
        scores=reader.scores(sweep),
        now=now if found.is_run(now) else None,
    )


def cost_line(reader: LedgerReader, sweep: str) -> str:
    """A sweep's cost in one line. UserError: the ledger has no such sweep."""
    found = read_costs(reader, sweep)
    parts = [f"{cost.device_hours:.3g} {outcome}" for outcome, cost in found.by_outcome.items() if cost.seconds]
    saved = f"; {found.saved.device_hours:.3g} saved by scores that were there before" if found.saved.seconds else ""
    apart = f": {', '.join(parts)}" if parts else ""
    return f"cost: {found.total.device_hours:.3g} {found.unit}-hours{apart}{saved}"


def costs(
    sweep: str,
    *,
    resources: Mapping[str, Resources],
    attempts: Sequence[AttemptRow],
    seconds: Sequence[CostRow],
    entries: Sequence[EntryRow],
    scores: Sequence[ScoreRow],
    now: float | None,
) -> Costs:
    """The cost of a sweep.

    Args:
        resources: of every sweep that made one of the attempts, by its name.
        attempts, seconds: of all sweeps at this sweep's trials.
        now: None where nothing runs: an attempt that is still open was left so at its last report.
    """
    kinds: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for row in seconds:
        kinds[row.trial_id, row.attempt][row.kind] = row.seconds
    before = images_before(attempts)
    fates = _Fates(entries)
    devices = {name: devices_of(asked) for name, asked in resources.items()}
    pieces: list[Piece] = []
    for attempt in (attempt for attempt in attempts if attempt.sweep == sweep):
        pieces += _pieces(attempt, kinds[key_of(attempt)], before=before, now=now, fate=fates.of(attempt))
    hits = _behind_hits(sweep, attempts, entries, scores)
    saved = [(attempt, _kept(attempt, kinds[key_of(attempt)], before=before)) for attempt in hits]
    return Costs(
        unit="GPU" if resources[sweep].gpus else "CPU",
        by_outcome={on: _summed([piece for piece in pieces if piece.on is on], devices=devices[sweep]) for on in CostOutcome},
        saved=Cost(
            seconds=sum(kept for _, kept in saved),
            device_hours=sum(kept * devices[attempt.sweep] for attempt, kept in saved) / HOUR_S,
            attempts=len(saved),
        ),
    )


def resources_of(spec: Mapping[str, Any]) -> Resources:
    """What a trial gets in a sweep, from its file as the ledger keeps it."""
    return Resources.model_validate(spec.get("resources", {}))


def devices_of(resources: Resources) -> float:
    """GPUs of a trial's workers together; their CPUs where they have no GPU."""
    return resources.workers * (resources.gpus or resources.cpus)


def key_of(attempt: AttemptRow) -> Key:
    return attempt.trial_id, attempt.number


def images_before(attempts: Sequence[AttemptRow]) -> dict[Key, int]:
    """The images of the checkpoint that each attempt went on from; `attempts` has all of a trial's."""
    last: dict[str, AttemptRow] = {}
    before: dict[Key, int] = {}
    for attempt in sorted(attempts, key=key_of):
        former = last.get(attempt.trial_id)
        saved = former.checkpoint_images if former is not None else None
        before[key_of(attempt)] = saved if saved is not None and saved <= attempt.target_images else 0
        last[attempt.trial_id] = attempt
    return before


def held_s(attempt: AttemptRow, *, now: float | None) -> float:
    """Seconds in which an attempt held its workers. `now` None: nothing runs, so that an open one ended unseen."""
    if attempt.outcome is None:
        end = attempt.updated_at if now is None else now
    elif attempt.outcome == "driver_lost" or attempt.ended_at is None:
        end = attempt.updated_at
    else:
        end = attempt.ended_at
    return max(0.0, end - attempt.started_at)


def _pieces(
    attempt: AttemptRow, kinds: Mapping[str, float], *, before: Mapping[Key, int], now: float | None, fate: CostOutcome
) -> Iterator[Piece]:
    """An attempt's time: kept for the trial, lost, evaluating, and the rest."""
    key, held = key_of(attempt), held_s(attempt, now=now)
    evaluation = kinds.get("evaluation", 0.0)
    work = held if attempt.outcome is None else _work(kinds)
    kept = work * _kept_share(attempt, before[key])
    rest = max(0.0, held - work - evaluation)
    yield Piece(fate, kept, key)
    yield Piece(CostOutcome.EVALUATION, evaluation, key)
    if _ended_itself(attempt):
        yield Piece(CostOutcome.OVERHEAD, rest, key)
    else:
        yield Piece(CostOutcome.FAILED if attempt.cause in OWN_FAULTS else CostOutcome.RETRIED, work - kept + rest, key)


def _work(kinds: Mapping[str, float]) -> float:
    return kinds.get("train", 0.0) + kinds.get("checkpoint", 0.0)


def _kept(attempt: AttemptRow, kinds: Mapping[str, float], *, before: Mapping[Key, int]) -> float:
    """Seconds of an attempt that its trial's score rests on."""
    return _work(kinds) * _kept_share(attempt, before[key_of(attempt)]) + kinds.get("evaluation", 0.0)


def _ended_itself(attempt: AttemptRow) -> bool:
    """Whether an attempt runs, or told its own end: what it trained is then saved, or is of no use to anybody."""
    return attempt.outcome not in ("failed", "driver_lost")


def _kept_share(attempt: AttemptRow, before: int) -> float:
    """How much of an attempt's training was saved when it ended."""
    trained = attempt.images - before
    if _ended_itself(attempt):
        return 1.0
    if trained <= 0 or attempt.checkpoint_images is None:
        return 0.0
    return min(1.0, max(0.0, (attempt.checkpoint_images - before) / trained))


class _Fates:
    """What became of the trials that a sweep wanted."""

    def __init__(self, entries: Sequence[EntryRow]) -> None:
        self._wanted: defaultdict[str, list[EntryRow]] = defaultdict(list)
        for row in entries:
            self._wanted[row.trial_id].append(row)

    def of(self, attempt: AttemptRow) -> CostOutcome:
        """What the training that an attempt saved was good for."""
        later = [row for row in self._wanted[attempt.trial_id] if row.images >= attempt.target_images]
        nearest = min((row.images for row in later), default=0)
        rows = [row for row in later if row.images == nearest]
        if any(row.state is EntryState.DONE for row in rows) or (not rows and attempt.outcome == "done"):
            return CostOutcome.USEFUL
        if any(row.state in LOST for row in rows):
            return CostOutcome.FAILED
        return CostOutcome.PRUNED if any(row.state is EntryState.PRUNED for row in rows) else CostOutcome.UNFINISHED


def _behind_hits(
    sweep: str, attempts: Sequence[AttemptRow], entries: Sequence[EntryRow], scores: Sequence[ScoreRow]
) -> list[AttemptRow]:
    """The attempts that made the scores which the sweep found there, each once."""
    scorer = {(score.trial_id, score.images, score.evaluation_id): score.attempt for score in scores}
    hits = [row for row in entries if row.cached]
    found: dict[Key, AttemptRow] = {}
    for row in hits:
        last = scorer.get((row.trial_id, row.images, row.evaluation_id), 0)
        chain = [a for a in attempts if a.trial_id == row.trial_id and a.number <= last and a.target_images <= row.images]
        own = any(a.number == last and a.sweep == sweep for a in chain)
        found |= {key_of(a): a for a in chain if own or a.sweep != sweep}
    return list(found.values())


def _summed(pieces: Sequence[Piece], *, devices: float) -> Cost:
    spent = [piece for piece in pieces if piece.seconds > 0]
    seconds = sum(piece.seconds for piece in spent)
    return Cost(seconds, seconds * devices / HOUR_S, len({piece.attempt for piece in spent}))
