"""Stopping early, as it is written down: each arm's verdict at each gate, and what that makes of its entries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, insert, select, update

from jit_sweep.ledger import events, schema
from jit_sweep.ledger.event_records import EventKind, Judged, KnownRungs
from jit_sweep.ledger.records import AttemptRow, EntryState
from jit_sweep.schedulers.decide import Decider
from jit_sweep.schedulers.race import Race, Racer, Seed, Standing, Verdict
from trainables.evaluation.metrics.registry import parse
from trainables.report import Decision

_ENTRY = schema.entry.c
_VERDICT = schema.verdict.c
_STANDING: Mapping[EntryState, Standing] = {
    EntryState.DONE: "ended",
    EntryState.DIVERGED: "lost",
    EntryState.FAILED: "lost",
}
_URGENCY: tuple[Standing, ...] = ("coming", "ended", "lost")
_AT_REST = frozenset({EntryState.WAITING, EntryState.HELD, EntryState.PRUNED, EntryState.PAUSED, EntryState.FAILED})
"""What verdicts move; a trial that runs is told when it reports, and its entries are moved on when it has ended."""
_MOVING = frozenset({EntryState.WAITING, EntryState.HELD, EntryState.PRUNED})
Values = Mapping[tuple[str, int], float]
"""Of one metric, by trial and image count."""
Known = Mapping[tuple[str, str], Mapping[int, Verdict]]
"""Verdicts by race and racer, then by gate."""


class Member(NamedTuple):
    """What an entry brings into its race."""

    race: str
    racer: str
    seed: int
    position: int
    trial_id: str
    gates: tuple[int, ...]
    protected: bool
    standing: Standing
    more_to_come: bool
    """Whether its stage may still grow."""


def judge(connection: Connection, sweep: str, decider: Decider, *, now: float) -> None:
    """Record every verdict that is due, and let each entry stand as the verdicts say."""
    if decider.metric is None:
        return
    rows = _rows(connection, sweep)
    values = _values(connection, sweep, decider.metric, now=now)
    known = _known(connection, sweep)
    for label, racing in races(_members(connection, sweep, rows), values, known).items():
        for verdict in decider.verdicts(racing):
            _record(connection, sweep, label, verdict, now=now)
            known[label, verdict.racer][verdict.gate] = verdict
    _move_on(connection, sweep, rows, values, known, now=now)


def races(members: Iterable[Member], values: Values, known: Known) -> dict[str, Race]:
    """The races that entries make up."""
    grouped: defaultdict[str, defaultdict[str, list[Member]]] = defaultdict(lambda: defaultdict(list))
    for member in members:
        grouped[member.race][member.racer].append(member)
    return {
        label: Race(
            label,
            tuple(_racer(name, entries, values, known.get((label, name), {})) for name, entries in racers.items()),
            any(entry.more_to_come for entries in racers.values() for entry in entries),
        )
        for label, racers in sorted(grouped.items())
    }


def stands(state: EntryState, gates: Mapping[int, int], said: Mapping[int, Verdict]) -> tuple[EntryState, str] | None:
    """What an entry at rest becomes, and why; None where it stays as it is.

    gates: image counts of the gates at which its trial has a value; said: its arm's verdicts.
    """
    stop = next((verdict for verdict in said.values() if not verdict.go_on), None)
    if stop is not None:
        return (EntryState.PRUNED, stop.reason) if state is not EntryState.PRUNED else None
    if state not in _MOVING:
        return None
    awaited = min((gate for gate in gates if gate not in said), default=None)
    if awaited is not None:
        return (EntryState.HELD, _waits(gates[awaited])) if state is not EntryState.HELD else None
    if state is EntryState.WAITING:
        return None
    return EntryState.WAITING, f"goes on: {said[max(said)].reason}" if said else ""


def answer(connection: Connection, attempt: AttemptRow, images: int, *, decider: Decider) -> Decision:
    """Whether a trial goes on past a rung: where one of the entries that it serves says so, or has nothing to decide there."""
    found = [_verdict_on(connection, attempt.sweep, row, images) for row in _served(connection, attempt)]
    here = [verdict for verdict in found if verdict is not None]
    if len(here) < len(found) or not here or decider.metric is None:
        return Decision(verdict="go_on", reason=f"nothing is decided at {images} images")
    for wanted in ("go_on", "pause"):
        for decision in here:
            if decision.verdict == wanted:
                return decision
    return here[0]


def leave(connection: Connection, attempt: AttemptRow, images: int, *, decider: Decider, now: float) -> None:
    """Move on the entries of an attempt that ended early, where it has a value at a gate of theirs."""
    states = {"go_on": EntryState.WAITING, "pause": EntryState.HELD, "stop": EntryState.PRUNED}
    if not _is_measured(connection, attempt.trial_id, images, decider):
        return
    for row in _served(connection, attempt):
        decision = _verdict_on(connection, attempt.sweep, row, images)
        if decision is not None:
            values = {"state": states[decision.verdict], "why": decision.reason, "updated_at": now}
            connection.execute(_of(attempt.sweep).where(_ENTRY.key == row.key).values(**values))


def forget(connection: Connection, sweep: str) -> None:
    """Take back every verdict: the sweep is judged by another scheduler from here on.

    Nothing races until it is planned again: what a search has proposed by the former scheduler's gates goes to its end.
    """
    connection.execute(schema.verdict.delete().where(_VERDICT.sweep == sweep))
    every = update(schema.entry).where(_ENTRY.sweep == sweep)
    connection.execute(every.values(race="", gates=[]))
    early = every.where(_ENTRY.state.in_([EntryState.HELD, EntryState.PRUNED]))
    connection.execute(early.values(state=EntryState.WAITING, why=""))


def _racer(name: str, entries: Sequence[Member], values: Values, said: Mapping[int, Verdict]) -> Racer:
    position = min(entry.position for entry in entries)
    gates = max((entry.gates for entry in entries), key=len)  # one ladder: a longer budget has more of it
    by_seed: defaultdict[int, list[Member]] = defaultdict(list)
    for entry in entries:
        by_seed[entry.seed].append(entry)
    seeds = tuple(
        Seed(seed, _standing(same), _at_gates(same[0].trial_id, gates, values))
        for seed, same in sorted(by_seed.items(), key=lambda item: item[0])
    )
    verdicts = {gate: verdict.go_on for gate, verdict in said.items()}
    return Racer(name, position, gates, any(entry.protected for entry in entries), seeds, verdicts)


def _standing(entries: Sequence[Member]) -> Standing:
    """Of a trial that several entries share: what can still come counts first."""
    return next(standing for standing in _URGENCY if any(entry.standing == standing for entry in entries))


def _at_gates(trial_id: str, gates: Sequence[int], values: Values) -> dict[int, float]:
    found = {gate: values.get((trial_id, images)) for gate, images in enumerate(gates)}
    return {gate: value for gate, value in found.items() if value is not None}


def _rows(connection: Connection, sweep: str) -> Sequence[Any]:
    """The entries that race, in the order of the plan."""
    names = ("key", "stage", "position", "race", "racer", "seed", "trial_id", "gates", "protected", "origin", "state")
    query = select(*(_ENTRY[name] for name in names)).where(*_in_race(sweep))
    return connection.execute(query.order_by(_ENTRY.stage, _ENTRY.position, _ENTRY.key)).all()


def _members(connection: Connection, sweep: str, rows: Sequence[Any]) -> list[Member]:
    searched = set(connection.scalar(select(schema.sweep.c.searched).where(schema.sweep.c.name == sweep)) or ())
    return [
        Member(
            race=row.race,
            racer=row.racer,
            seed=row.seed,
            position=row.position,
            trial_id=row.trial_id,
            gates=tuple(row.gates),
            protected=row.protected,
            standing=_STANDING.get(EntryState(row.state), "coming"),
            more_to_come=row.origin == "search" and row.stage not in searched,
        )
        for row in rows
    ]


def _values(connection: Connection, sweep: str, metric: str, *, now: float) -> dict[tuple[str, int], float]:
    """What the races are judged by. What other sweeps measured is recorded once: this sweep's events explain its verdicts."""
    rung, attempt = schema.rung_value.c, schema.attempt.c
    trials = select(_ENTRY.trial_id).where(*_in_race(sweep))
    made = (attempt.trial_id == rung.trial_id) & (attempt.number == rung.attempt)
    query = select(rung.trial_id, rung.images, rung.value, attempt.sweep).join_from(schema.rung_value, schema.attempt, made)
    query = query.where(*_is_of(metric), rung.trial_id.in_(trials)).order_by(rung.trial_id, rung.images)
    rows = connection.execute(query).all()
    foreign = [(row.trial_id, row.images, row.value) for row in rows if row.sweep != sweep]
    if foreign:
        _record_known(connection, sweep, metric, foreign, now=now)
    return {(row.trial_id, row.images): row.value for row in rows}


def _record_known(
    connection: Connection, sweep: str, metric: str, values: Sequence[tuple[str, int, float]], *, now: float
) -> None:
    event = schema.event.c
    query = select(event.data).where(event.sweep == sweep, event.kind == EventKind.KNOWN_RUNGS)
    before = [KnownRungs.model_validate(data) for data in connection.scalars(query)]
    recorded = {value[:2] for rungs in before if rungs.metric == metric for value in rungs.values}
    fresh = tuple(value for value in values if value[:2] not in recorded)
    if fresh:
        events.append(connection, KnownRungs(metric=metric, values=fresh), sweep=sweep, at=now)


def _known(connection: Connection, sweep: str) -> defaultdict[tuple[str, str], dict[int, Verdict]]:
    known: defaultdict[tuple[str, str], dict[int, Verdict]] = defaultdict(dict)
    query = select(schema.verdict).where(_VERDICT.sweep == sweep).order_by(_VERDICT.gate)
    for row in connection.execute(query):
        known[row.race, row.racer][row.gate] = Verdict(row.racer, row.gate, row.go_on, row.reason)
    return known


def _record(connection: Connection, sweep: str, race: str, verdict: Verdict, *, now: float) -> None:
    record = Judged(race=race, **verdict._asdict())
    connection.execute(insert(schema.verdict).values(sweep=sweep, created_at=now, **record.model_dump()))
    events.append(connection, record, sweep=sweep, at=now)


def _move_on(connection: Connection, sweep: str, rows: Sequence[Any], values: Values, known: Known, *, now: float) -> None:
    for row in rows:
        state = EntryState(row.state)
        if state not in _AT_REST:
            continue
        gates = {gate: images for gate, images in enumerate(row.gates) if (row.trial_id, images) in values}
        moved = stands(state, gates, known.get((row.race, row.racer), {}))
        if moved is not None:
            now_known = {"state": moved[0], "why": moved[1], "updated_at": now}
            connection.execute(_of(sweep).where(_ENTRY.key == row.key).values(**now_known))


def _waits(images: int) -> str:
    return f"waits at {images} images for what it is compared with"


def _is_measured(connection: Connection, trial_id: str, images: int, decider: Decider) -> bool:
    rung = schema.rung_value.c
    if decider.metric is None:
        return False
    query = select(rung.images).where(rung.trial_id == trial_id, rung.images == images, *_is_of(decider.metric))
    return connection.scalar(query) is not None


def _is_of(metric: str) -> tuple[ColumnElement[bool], ...]:
    """The rung values of a metric by its shown name."""
    name = parse(metric)
    return schema.rung_value.c.metric == name.metric, schema.rung_value.c.weights == name.weights


def _verdict_on(connection: Connection, sweep: str, row: Any, images: int) -> Decision | None:
    """The scheduler's word on an entry at a rung; None where the rung is no gate. An arm that was stopped stays so."""
    if images not in row.gates:
        return None
    gate = list(row.gates).index(images)
    here = (_VERDICT.sweep == sweep, _VERDICT.race == row.race, _VERDICT.racer == row.racer)
    query = select(_VERDICT.go_on, _VERDICT.reason).where(*here, (_VERDICT.gate == gate) | ~_VERDICT.go_on)
    found = connection.execute(query.order_by(_VERDICT.go_on)).first()
    if found is None:
        return Decision(verdict="pause", reason=_waits(images))
    return Decision(verdict="go_on" if found.go_on else "stop", reason=found.reason)


def _served(connection: Connection, attempt: AttemptRow) -> Sequence[Any]:
    """The entries that an attempt runs for."""
    mine = (_ENTRY.sweep == attempt.sweep, _ENTRY.trial_id == attempt.trial_id, _ENTRY.attempt == attempt.number)
    running = (_ENTRY.state == EntryState.RUNNING, ~_ENTRY.superseded)
    return connection.execute(select(_ENTRY.key, _ENTRY.race, _ENTRY.racer, _ENTRY.gates).where(*mine, *running)).all()


def _in_race(sweep: str) -> tuple[Any, ...]:
    return (_ENTRY.sweep == sweep, ~_ENTRY.superseded, _ENTRY.race != "")


def _of(sweep: str) -> Any:
    return update(schema.entry).where(_ENTRY.sweep == sweep, ~_ENTRY.superseded)
