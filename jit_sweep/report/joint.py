"""One report of several sweeps that share images and evaluation: their arms in one table, each with its sweep as an axis."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any, TypeVar

from jit_sweep.budget.costs import Cost, CostOutcome, Costs
from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import UNFINISHED, EntryRow, SweepRow, SweepState
from jit_sweep.report.answer import summary
from jit_sweep.report.cards import Card
from jit_sweep.report.contents import Report, read_report, time_to_quality
from jit_sweep.report.curves import Curve
from jit_sweep.report.losses import losses
from jit_sweep.report.rerun import TOTAL, Provenance, provenance
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.results.findings import Answers, Findings
from jit_sweep.results.leaderboard import Results, leaderboard
from search_spaces.cells import arm_label

SWEEP = "sweep"
"""The axis that tells arms of two sweeps apart."""
SHARED = ("objective", "data", "evaluation")
"""What sweeps must have in common, as keys of a sweep's identity: else their scores are not ranked together."""
Row = TypeVar("Row")


def read_reports(reader: LedgerReader, names: Sequence[str], *, goal: float | None = None) -> Report:
    """The report of one sweep, or of several as one. Verdicts are those of each sweep, answered with its own questions.

    UserError: the ledger lacks one of them; a name is given twice; they differ in objective, images or evaluation.
    """
    if len(names) == 1:
        return read_report(reader, names[0], goal=goal)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"sweeps of one report must differ, got {twice[0]} twice; name another one, or this one alone")
    _refuse_unlike([reader.sweep(name) for name in names])
    return _joined(reader, [read_report(reader, name, goal=goal) for name in names], goal)


def _refuse_unlike(sweeps: Sequence[SweepRow]) -> None:
    first = sweeps[0]
    for other in sweeps[1:]:
        for field in SHARED:
            one, another = (_flat(field, sweep.identity.get(field)) for sweep in (first, other))
            differing = next((key for key in {**one, **another} if one.get(key) != another.get(key)), None)
            if differing:
                got = f"{one.get(differing)} of {first.name} and {another.get(differing)} of {other.name}"
                raise UserError(f"sweeps of one report must share `{differing}`, got {got}; report them one by one")


def _flat(name: str, value: Any) -> dict[str, Any]:
    return {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}


def _joined(reader: LedgerReader, parts: Sequence[Report], goal: float | None) -> Report:
    results, names = _results(parts), [part.sweep.name for part in parts]
    entries = _once((_of_sweep(row, part) for part in parts for row in part.entries), key=lambda row: row.trial_id)
    attempts = [attempt for name in names for attempt in reader.attempts(name)]
    cards = [_card(card, part) for part in parts for card in part.cards]
    quality = time_to_quality(reader, names, results.arms, goal=goal)
    lost, costs = losses(entries, attempts), _costs([part.costs for part in parts])
    left = [part.seconds_left for part in parts if part.seconds_left is not None]
    last = next((part.sweep for part in parts if part.sweep.standing is not SweepState.DONE), parts[0].sweep)
    sweep = last._replace(name=results.sweep)
    answer = summary(cards, results, open_trials=sum(row.state in UNFINISHED for row in entries))
    return Report(
        sweep=sweep,
        results=results,
        front=frozenset(),
        entries=tuple(entries),
        answer=answer,
        cards=tuple(cards),
        curves=_curves(parts, results.arms),
        quality=quality,
        quality_metric=parts[0].quality_metric,
        searches=(),
        pictures=tuple(picture for part in parts for picture in part.pictures),
        losses=tuple(lost),
        costs=costs,
        provenance=_provenance(parts, provenance(sweep, results, entries, costs, lost)),
        written_at=max(part.written_at for part in parts),
        seconds_left=max(left) if left else None,
    )


def _results(parts: Sequence[Report]) -> Results:
    """The arms of all, best first; those of the same trials once, by the sweep that is named first."""
    first = parts[0].results
    stages = [1 + max((arm.stage for arm in part.results.arms), default=0) for part in parts]
    offsets = [0, *accumulate(stages)]
    arms = [_arm(arm, part, offset) for part, offset in zip(parts, offsets, strict=False) for arm in part.results.arms]
    arms = _once(arms, key=lambda arm: tuple(trial.entry.trial_id for trial in arm.trials))
    return Results(
        sweep=" + ".join(part.sweep.name for part in parts),
        objective=first.objective,
        arms=tuple(leaderboard(arms, objective=first.objective)),
        searched=(),
        heldout=next((part.results.heldout for part in parts if part.results.heldout), None),
        fidelity=tuple(
            rung._replace(group=f"{part.sweep.name}, {rung.group}") for part in parts for rung in part.results.fidelity
        ),
        findings=Findings(Answers(each for part in parts for each in part.results.findings.planned.unread)),
    )


def _arm(arm: Arm, part: Report, offset: int) -> Arm:
    trials = tuple(TrialResult(_of_sweep(trial.entry, part), trial.score) for trial in arm.trials)
    return replace(arm, stage=arm.stage + offset, arm={SWEEP: part.sweep.name, **arm.arm}, trials=trials)


def _of_sweep(row: EntryRow, part: Report) -> EntryRow:
    return replace(row, arm={SWEEP: part.sweep.name, **row.arm})


def _card(card: Card, part: Report) -> Card:
    """A sweep's card among others': its question begins with the sweep's name."""
    name = part.sweep.name
    labels = {arm.label: arm_label({SWEEP: name, **arm.arm}) for arm in part.results.arms}
    question = f"{name}: {card.question}"
    return replace(
        card,
        question=question,
        asked=f"{name}: {card.asked}",
        statement=f"{name}: {card.statement}",
        bar=replace(card.bar, question=question) if card.bar else None,
        arms=tuple(labels.get(label, label) for label in card.arms),
    )


def _curves(parts: Sequence[Report], arms: Sequence[Arm]) -> tuple[Curve, ...]:
    """Those of one metric together, of the arms that are shown."""
    shown = {arm.label for arm in arms}
    every = [
        replace(curve, arm=cell, label=arm_label(cell))
        for part in parts
        for curve in part.curves
        if arm_label(cell := {SWEEP: part.sweep.name, **curve.arm}) in shown
    ]
    metrics = list(dict.fromkeys(curve.metric for curve in every))
    return tuple(sorted(every, key=lambda curve: metrics.index(curve.metric)))


def _costs(parts: Sequence[Costs]) -> Costs:
    return Costs(
        unit=parts[0].unit,
        by_outcome={on: _sum(part.by_outcome[on] for part in parts) for on in CostOutcome},
        saved=_sum(part.saved for part in parts),
    )


def _sum(costs: Iterable[Cost]) -> Cost:
    columns = zip(*(asdict(cost).values() for cost in costs), strict=True)
    return Cost(*(sum(column) for column in columns))


def _provenance(parts: Sequence[Report], joined: Provenance) -> Provenance:
    """What differs is told of each sweep; the files stand one after the other."""
    return replace(
        joined,
        spec="---\n".join(f"# {part.sweep.name}.yaml\n{part.provenance.spec}" for part in parts),
        files=tuple(file for part in parts for file in part.provenance.files),
        facts=tuple((name, _fact(name, value, parts)) for name, value in joined.facts),
        rerun="\n".join(part.provenance.rerun for part in parts),
    )


def _fact(name: str, value: str, parts: Sequence[Report]) -> str:
    """What is true of all, or of each."""
    own = {part.sweep.name: dict(part.provenance.facts).get(name, "") for part in parts}
    if name == TOTAL or len({*own.values()}) == 1:
        return value
    return "; ".join(f"{sweep}: {each}" for sweep, each in own.items())


def _once(rows: Iterable[Row], *, key: Callable[[Row], Hashable]) -> list[Row]:
    """The first of those with equal keys."""
    first: dict[Hashable, Row] = {}
    for row in rows:
        first.setdefault(key(row), row)
    return list(first.values())
