"""The verdicts of early stopping in the ledger: one an arm and gate, and the entries' states that follow from them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, func, insert, select, update

from jit_sweep.ledger import events, schema
from jit_sweep.ledger.event_records import EventKind, Judged, KnownRungs
from jit_sweep.ledger.live_races import LiveRaces, RaceEntry
from jit_sweep.ledger.races import Arm, Values, Verdicts, stands, waits
from jit_sweep.ledger.reader import MOST_NAMED
from jit_sweep.ledger.records import AttemptRow, EntryState
from jit_sweep.schedulers.decide import Decider
from jit_sweep.schedulers.race import Verdict
from trainables.evaluation.metrics.registry import parse
from trainables.report import Decision

_ENTRY = schema.entry.c
_VERDICT = schema.verdict.c
_LATE_EVENTS = 500
"""Of PostgreSQL: an event may be written after one of a higher number, so that the last ones are looked at again."""
_AT_REST = frozenset(
    {
        EntryState.WAITING,
        EntryState.HELD,
        EntryState.PRUNED,
        EntryState.PAUSED,
        EntryState.FAILED,
        EntryState.OUT_OF_BUDGET,
    }
)
"""States that a verdict may change. A running trial gets its verdict as the answer to a report; its entries change at its
end."""


_COLUMNS = tuple(_ENTRY[field.name] for field in fields(RaceEntry))
_SWEEP: BindParameter[str] = bindparam("of_sweep")
_EVENT, _RUNG = schema.event.c, schema.rung_value.c
# Statements of a report are built once: building one takes longer than sqlite takes to answer it.
_OF_TRIALS = select(*_COLUMNS).where(
    _ENTRY.sweep == _SWEEP, ~_ENTRY.superseded, _ENTRY.race != "", _ENTRY.trial_id.in_(bindparam("trials", expanding=True))
)
_VALUES_OF = select(_RUNG.trial_id, _RUNG.images, _RUNG.value).where(
    _RUNG.metric == bindparam("of_metric"),
    _RUNG.weights == bindparam("of_weights"),
    _RUNG.trial_id.in_(bindparam("trials", expanding=True)),
)
_FOREIGN = select(_EVENT.trial_id).where(_EVENT.id > bindparam("since"), _EVENT.sweep != _SWEEP, _EVENT.kind == EventKind.RUNG)
_LAST_EVENT = select(func.max(_EVENT.id))
_SERVED = select(*_COLUMNS).where(
    _ENTRY.sweep == _SWEEP,
    _ENTRY.trial_id == bindparam("trial"),
    _ENTRY.attempt == bindparam("of_attempt"),
    _ENTRY.state == EntryState.RUNNING,
    ~_ENTRY.superseded,
)
_DECIDED = (
    select(_VERDICT.go_on, _VERDICT.reason)
    .where(_VERDICT.sweep == _SWEEP, _VERDICT.race == bindparam("of_race"), _VERDICT.racer == bindparam("of_racer"))
    .where((_VERDICT.gate == bindparam("at_gate")) | ~_VERDICT.go_on)
    .order_by(_VERDICT.go_on)
)
_INSERT_VERDICT = insert(schema.verdict)
_SET_STATE = update(schema.entry).where(_ENTRY.sweep == _SWEEP, ~_ENTRY.superseded, _ENTRY.key == bindparam("of_key"))


class Judge:
    """A scheduler that judges a sweep's races, with these in memory from one judgement to the next.

    The memory is the writer's own: nobody else changes the sweep's entries, and what other sweeps measure is looked for.
    """

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self._races: LiveRaces | None = None
        self._changed: set[str] = set()
        self._seen = 0
        """The last event of any sweep that was looked at."""

    def forget(self) -> None:
        """Read everything again next time: after a transaction that was undone, nothing else is known."""
        self._races = None

    def touch(self, trial_id: str) -> None:
        """A trial's entries have changed: they are read again with the next judgement."""
        self._changed.add(trial_id)

    def judge(self, connection: Connection, sweep: str, *, now: float, trial_id: str | None = None) -> None:
        """Record every verdict that is due, and give each entry at rest the state that follows from its arm's verdicts.

        `trial_id`: the one whose entries or values have changed since the last judgement; None: any may have.
        """
        metric = self.decider.metric
        if metric is None:
            return
        if self._races is None or trial_id is None or self._measured_elsewhere(connection, sweep, self._races):
            self._races, self._changed = _read(connection, sweep, metric, now=now), set()
            labels, entries = list(self._races.races), list(self._races.entries.values())
        else:
            trials, self._changed = {trial_id, *self._changed} & self._races.trials.keys(), set()
            entries = _of_trials(connection, sweep, trials)
            arms = self._races.put(entries, _values_of(connection, metric, trials))
            labels = sorted({race for race, _ in arms})
        judged = self._record(connection, sweep, self._races, labels, now=now)
        known = {entry.key for entry in entries}
        if others := [entry for entry in self._races.of_arms(judged) if entry.key not in known]:
            entries += _of_trials(connection, sweep, {entry.trial_id for entry in others})
        _move_on(connection, sweep, entries, self._races.values, self._races.verdicts, now=now)

    def _record(self, connection: Connection, sweep: str, live: LiveRaces, labels: Sequence[str], *, now: float) -> set[Arm]:
        """Record what is due in some races; returns the arms that it is about."""
        judged: set[Arm] = set()
        for label in labels:
            due, race = self.decider.judged(live.races[label])
            live.judged(race, due)
            for verdict in due:
                _record(connection, sweep, label, verdict, now=now)
                judged.add((label, verdict.racer))
        return judged

    def _measured_elsewhere(self, connection: Connection, sweep: str, live: LiveRaces) -> bool:
        """Whether another sweep has measured one of these trials meanwhile."""
        since = self._seen - (_LATE_EVENTS if connection.dialect.name == "postgresql" else 0)
        trials = set(connection.scalars(_FOREIGN, {"of_sweep": sweep, "since": since}))
        self._seen = connection.scalar(_LAST_EVENT) or 0
        return not trials.isdisjoint(live.trials)


def answer(connection: Connection, attempt: AttemptRow, images: int, *, decider: Decider) -> Decision:
    """Whether a trial goes on past a rung: where one of the entries that it serves says so, or has nothing to decide there."""
    decisions = [_decision(connection, attempt.sweep, entry, images) for entry in _served(connection, attempt)]
    made = [decision for decision in decisions if decision is not None]
    if len(made) < len(decisions) or not made or decider.metric is None:
        return Decision(verdict="go_on", reason=f"nothing is decided at {images} images")
    for wanted in ("go_on", "pause"):
        for decision in made:
            if decision.verdict == wanted:
                return decision
    return made[0]


def leave(connection: Connection, attempt: AttemptRow, images: int, *, decider: Decider, now: float) -> None:
    """Move on the entries of an attempt that ended early, where it has a value at a gate of theirs."""
    states = {"go_on": EntryState.WAITING, "pause": EntryState.HELD, "stop": EntryState.PRUNED}
    if not _is_measured(connection, attempt.trial_id, images, decider):
        return
    for entry in _served(connection, attempt):
        decision = _decision(connection, attempt.sweep, entry, images)
        if decision is not None:
            _set_state(connection, attempt.sweep, entry, states[decision.verdict], why=decision.reason, now=now)


def forget(connection: Connection, sweep: str) -> None:
    """Take back every verdict: from now on another scheduler judges the sweep.

    Nothing races until it is planned again: what a search has proposed by the former scheduler's gates goes to its end.
    """
    connection.execute(schema.verdict.delete().where(_VERDICT.sweep == sweep))
    every = update(schema.entry).where(_ENTRY.sweep == sweep)
    connection.execute(every.values(race="", gates=[]))
    early = every.where(_ENTRY.state.in_([EntryState.HELD, EntryState.PRUNED]))
    connection.execute(early.values(state=EntryState.WAITING, why=""))


def _read(connection: Connection, sweep: str, metric: str, *, now: float) -> LiveRaces:
    """All races of a sweep as the ledger has them."""
    racing = select(*_COLUMNS).where(*_in_race(sweep))
    entries = _entries(connection, racing.order_by(_ENTRY.stage, _ENTRY.position, _ENTRY.key))
    values = _values(connection, sweep, metric, now=now)
    return LiveRaces(entries, values, _verdicts(connection, sweep), _searched(connection, sweep))


def _of_trials(connection: Connection, sweep: str, trials: Collection[str]) -> list[RaceEntry]:
    """The entries of some trials that race."""
    ids = sorted(trials)
    pages = [ids[first : first + MOST_NAMED] for first in range(0, len(ids), MOST_NAMED)]
    return [entry for page in pages for entry in _entries(connection, _OF_TRIALS, of_sweep=sweep, trials=page)]


def _values_of(connection: Connection, metric: str, trials: Collection[str]) -> Values:
    """The rung values of a few trials."""
    name = parse(metric)
    given = {"of_metric": name.metric, "of_weights": name.weights, "trials": sorted(trials)}
    return {(row.trial_id, row.images): row.value for row in connection.execute(_VALUES_OF, given)}


def _entries(connection: Connection, query: Select[Any], **given: object) -> list[RaceEntry]:
    """The entries that a query of `_COLUMNS` selects."""
    rows = connection.execute(query, given).mappings()
    return [RaceEntry(**{**row, "gates": tuple(row["gates"]), "state": EntryState(row["state"])}) for row in rows]


def _searched(connection: Connection, sweep: str) -> frozenset[str]:
    """The stages whose searches propose nothing more."""
    return frozenset(connection.scalar(select(schema.sweep.c.searched).where(schema.sweep.c.name == sweep)) or ())


def _values(connection: Connection, sweep: str, metric: str, *, now: float) -> dict[tuple[str, int], float]:
    """The rung values of a sweep's races. Those that other sweeps' attempts measured are recorded once among this sweep's
    events, which so explain its verdicts."""
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


def _verdicts(connection: Connection, sweep: str) -> defaultdict[tuple[str, str], dict[int, Verdict]]:
    verdicts: defaultdict[tuple[str, str], dict[int, Verdict]] = defaultdict(dict)
    query = select(schema.verdict).where(_VERDICT.sweep == sweep).order_by(_VERDICT.gate)
    for row in connection.execute(query):
        verdicts[row.race, row.racer][row.gate] = Verdict(row.racer, row.gate, row.go_on, row.reason)
    return verdicts


def _record(connection: Connection, sweep: str, race: str, verdict: Verdict, *, now: float) -> None:
    record = Judged(race=race, **verdict._asdict())
    connection.execute(_INSERT_VERDICT, {"sweep": sweep, "created_at": now, **record.model_dump()})
    events.append(connection, record, sweep=sweep, at=now)


def _move_on(
    connection: Connection, sweep: str, entries: Iterable[RaceEntry], values: Values, verdicts: Verdicts, *, now: float
) -> None:
    for entry in entries:
        if entry.state not in _AT_REST:
            continue
        gates = {gate: images for gate, images in enumerate(entry.gates) if (entry.trial_id, images) in values}
        moved = stands(entry.state, gates, verdicts.get((entry.race, entry.racer), {}))
        if moved is not None:
            state, why = moved
            _set_state(connection, sweep, entry, state, why=why, now=now)


def _set_state(connection: Connection, sweep: str, entry: RaceEntry, state: EntryState, *, why: str, now: float) -> None:
    new = {"state": state, "why": why, "updated_at": now}
    connection.execute(_SET_STATE, {"of_sweep": sweep, "of_key": entry.key, **new})


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


def _decision(connection: Connection, sweep: str, entry: RaceEntry, images: int) -> Decision | None:
    """What the verdicts say of an entry at a rung; None where the rung is no gate. An arm that was stopped stays so."""
    if images not in entry.gates:
        return None
    given = {"of_sweep": sweep, "of_race": entry.race, "of_racer": entry.racer, "at_gate": entry.gates.index(images)}
    verdict = connection.execute(_DECIDED, given).first()
    if verdict is None:
        return Decision(verdict="pause", reason=waits(images))
    return Decision(verdict="go_on" if verdict.go_on else "stop", reason=verdict.reason)


def _served(connection: Connection, attempt: AttemptRow) -> list[RaceEntry]:
    """The entries that an attempt runs for."""
    its = {"of_sweep": attempt.sweep, "trial": attempt.trial_id, "of_attempt": attempt.number}
    return _entries(connection, _SERVED, **its)


def _in_race(sweep: str) -> tuple[ColumnElement[bool], ...]:
    return (_ENTRY.sweep == sweep, ~_ENTRY.superseded, _ENTRY.race != "")
