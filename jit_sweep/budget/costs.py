"""What a sweep cost, by what came of it. Pure functions of the ledger's rows.

An attempt that was lost keeps the part up to its last checkpoint, as the next one goes on from there; images stand for time
within an attempt. Device-hours are those that a trial's workers were held for, at the size that the sweep file asks for now.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from jit_sweep.budget.spending import HOUR_S, Key, Spending, devices_of, key_of, tuner_devices_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, AttemptRow, Cause, CostRow, EntryRow, EntryState, ScoreRow
from jit_sweep.spec.sweep import Resources

OWN_FAULTS = frozenset({Cause.BUG, Cause.DATA_ERROR, Cause.INFEASIBLE, Cause.DIVERGED})
"""Causes that lie in the trial itself; with any other the same work is done once more."""

SHOWN_WAIT = 0.05
"""A smaller share of training that waited for images is no news."""


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
    TUNING = "tuning"
    """Evaluations by which trained trials take their best settings, as `evaluation.tune` asks."""
    OVERHEAD = "overhead"
    """Workers held, but not at work: a trial's start and end."""

    @property
    def in_words(self) -> str:
        """As it is shown: what a scheduler ended has one name everywhere."""
        return {CostOutcome.PRUNED: "stopped early", CostOutcome.TUNING: "tuning of sampling"}.get(self, str(self))


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
    data_wait: float | None = None
    """Share of its training that waited for images; None where nothing was trained to an end."""

    @property
    def total(self) -> Cost:
        """All that this sweep spent."""
        costs = self.by_outcome.values()
        return Cost(sum(c.seconds for c in costs), sum(c.device_hours for c in costs))

    @property
    def evaluation_share(self) -> float | None:
        """Of the time that its trials held their workers; None where they held none."""
        total = self.total.seconds
        return self.by_outcome[CostOutcome.EVALUATION].seconds / total if total else None


class Piece(NamedTuple):
    """Some seconds of an attempt."""

    on: CostOutcome
    seconds: float
    attempt: Key


def read_costs(reader: LedgerReader, sweep: str) -> Costs:
    """A sweep's cost. UserError: the ledger has no such sweep."""
    row = reader.sweep(sweep)
    attempts = reader.attempts_at_trials(sweep)
    makers = {sweep, *(attempt.sweep for attempt in attempts)}
    devices = {other.name: devices_of(resources_of(other.spec)) for other in reader.sweeps() if other.name in makers}
    return costs(
        Spending(
            sweep,
            attempts,
            devices,
            now=reader.now() if row.is_run else None,
            tuning=reader.tuning_spans(sweep),
            tuner_devices=tuner_devices_of(resources_of(row.spec)),
        ),
        unit="GPU" if resources_of(row.spec).gpus else "CPU",
        seconds=reader.cost(sweep),
        entries=reader.entries(sweep),
        scores=reader.scores(sweep),
    )


def cost_line(reader: LedgerReader, sweep: str) -> str:
    """A sweep's cost in one line. UserError: the ledger has no such sweep."""
    spent = read_costs(reader, sweep)
    parts = [f"{cost.device_hours:.3g} {outcome.in_words}" for outcome, cost in spent.by_outcome.items() if cost.seconds]
    saved = f"; {spent.saved.device_hours:.3g} saved by scores that were there before" if spent.saved.seconds else ""
    apart = f": {', '.join(parts)}" if parts else ""
    waited = f"; {spent.data_wait:.0%} of training waited for images" if (spent.data_wait or 0.0) >= SHOWN_WAIT else ""
    return f"cost: {spent.total.device_hours:.3g} {spent.unit}-hours{apart}{saved}{waited}"


def costs(
    spending: Spending,
    *,
    unit: Literal["GPU", "CPU"],
    seconds: Sequence[CostRow],
    entries: Sequence[EntryRow],
    scores: Sequence[ScoreRow],
) -> Costs:
    """The cost of a sweep. `seconds`: of all sweeps at this sweep's trials."""
    kinds: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for row in seconds:
        kinds[row.trial_id, row.attempt][row.kind] = row.seconds
    fates, devices = _Fates(entries), spending.devices[spending.sweep]
    pieces: list[Piece] = []
    for attempt in spending.own:
        pieces += _pieces(spending, attempt, kinds[key_of(attempt)], fate=fates.of(attempt))
    hits = _behind_hits(spending, entries, scores)
    saved = [(attempt, _kept(spending, attempt, kinds[key_of(attempt)])) for attempt in hits]
    by_outcome = {on: _summed([piece for piece in pieces if piece.on is on], devices=devices) for on in CostOutcome}
    tuning_s = spending.tuning_s
    by_outcome[CostOutcome.TUNING] = Cost(tuning_s, tuning_s * spending.tuner_devices / HOUR_S, len(spending.tuning))
    return Costs(
        unit=unit,
        by_outcome=by_outcome,
        saved=Cost(
            seconds=sum(kept for _, kept in saved),
            device_hours=sum(kept * spending.devices[attempt.sweep] for attempt, kept in saved) / HOUR_S,
            attempts=len(saved),
        ),
        data_wait=_data_wait([kinds[key_of(attempt)] for attempt in spending.own]),
    )


def _data_wait(attempts: Sequence[Mapping[str, float]]) -> float | None:
    """Of the attempts that told what they waited for images."""
    told = [kinds for kinds in attempts if "data" in kinds]
    trained = sum(kinds["train"] for kinds in told)
    return sum(kinds["data"] for kinds in told) / trained if trained else None


def resources_of(spec: Mapping[str, Any]) -> Resources:
    """What a trial gets in a sweep, from its file as the ledger keeps it."""
    return Resources.model_validate(spec.get("resources", {}))


def _pieces(spending: Spending, attempt: AttemptRow, kinds: Mapping[str, float], *, fate: CostOutcome) -> Iterator[Piece]:
    """An attempt's time: kept for the trial, lost, evaluating, and the rest."""
    key, held = key_of(attempt), spending.held_s(attempt)
    evaluation = kinds.get("evaluation", 0.0)
    work = held if attempt.outcome is None else _work(kinds)
    kept = work * _kept_share(attempt, spending.before[key])
    rest = max(0.0, held - work - evaluation)
    yield Piece(fate, kept, key)
    yield Piece(CostOutcome.EVALUATION, evaluation, key)
    if _ended_itself(attempt):
        yield Piece(CostOutcome.OVERHEAD, rest, key)
    else:
        yield Piece(CostOutcome.FAILED if attempt.cause in OWN_FAULTS else CostOutcome.RETRIED, work - kept + rest, key)


def _work(kinds: Mapping[str, float]) -> float:
    return kinds.get("train", 0.0) + kinds.get("checkpoint", 0.0)


def _kept(spending: Spending, attempt: AttemptRow, kinds: Mapping[str, float]) -> float:
    """Seconds of an attempt that its trial's score rests on."""
    return _work(kinds) * _kept_share(attempt, spending.before[key_of(attempt)]) + kinds.get("evaluation", 0.0)


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


def _behind_hits(spending: Spending, entries: Sequence[EntryRow], scores: Sequence[ScoreRow]) -> list[AttemptRow]:
    """The attempts that made the scores which the sweep found there, each once."""
    scorer = {(score.trial_id, score.images, score.evaluation_id): score.attempt for score in scores}
    makers: dict[Key, AttemptRow] = {}
    for row in (row for row in entries if row.cached):
        last = scorer.get((row.trial_id, row.images, row.evaluation_id), 0)
        of_trial = (attempt for attempt in spending.attempts if attempt.trial_id == row.trial_id)
        chain = [a for a in of_trial if a.number <= last and a.target_images <= row.images]
        own = any(a.number == last and a.sweep == spending.sweep for a in chain)
        makers |= {key_of(a): a for a in chain if own or a.sweep != spending.sweep}
    return list(makers.values())


def _summed(pieces: Sequence[Piece], *, devices: float) -> Cost:
    spent = [piece for piece in pieces if piece.seconds > 0]
    seconds = sum(piece.seconds for piece in spent)
    return Cost(seconds, seconds * devices / HOUR_S, len({piece.attempt for piece in spent}))
