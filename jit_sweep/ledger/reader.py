"""Everything that can be asked of a ledger; each question is one query or two, however many trials there are."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Self

from sqlalchemy import Engine, Row, Select, and_, exists, func, select

from jit_sweep.errors import UserError
from jit_sweep.ledger import schema
from jit_sweep.ledger.clock import DatabaseClock, database_now
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.entries import SCORED
from jit_sweep.ledger.event_records import Asked, Evaluated, EventKind, EventRow, Finished, NoiseMeasured, Tuned
from jit_sweep.ledger.holder import is_held
from jit_sweep.ledger.records import (
    AttemptRow,
    Cause,
    CostRow,
    EntryRow,
    EntryState,
    HeldoutRow,
    Owner,
    PictureRow,
    RungRow,
    ScoreRow,
    SweepRow,
    SweepState,
    VerdictRow,
    attempt_row,
)
from trainables.config.spelling import did_you_mean

_ENTRY = schema.entry.c
_ENTRY_COLUMNS = tuple(_ENTRY.keys())
_ATTEMPT_COLUMNS = list(schema.attempt.c)
MOST_NAMED = 500
"""Trials that a query may name: for more, reading all is quicker."""


class LedgerReader:
    """Reads of any sweep; nothing here writes or waits for the writer."""

    def __init__(self, engine: Engine, *, clock: DatabaseClock = database_now) -> None:
        self._engine, self._clock = engine, clock

    @classmethod
    def open(cls, uri: str) -> Self:
        """The reader of the ledger at an address. UserError: there is none, or it cannot be reached."""
        return cls(open_engine(uri, create=False))

    def sweeps(self) -> list[SweepRow]:
        """All sweeps, the latest first."""
        per_state = select(_ENTRY.sweep, _ENTRY.state, func.count()).where(~_ENTRY.superseded)
        counts: defaultdict[str, dict[EntryState, int]] = defaultdict(dict)
        for name, state, count in self._rows(per_state.group_by(_ENTRY.sweep, _ENTRY.state)):
            counts[name][EntryState(state)] = count
        lease, sweep = schema.lease.c, schema.sweep.c
        query = select(schema.sweep, *(column.label(f"lease_{column.name}") for column in lease))
        query = query.outerjoin_from(schema.sweep, schema.lease, lease.sweep == sweep.name)
        rows, now = self._rows(query.order_by(sweep.updated_at.desc(), sweep.name)), self.now()
        return [_sweep_row(row, counts=counts[row.name], now=now) for row in rows]

    def sweep(self, name: str) -> SweepRow:
        """One sweep. UserError: the ledger has none of this name."""
        sweeps = {row.name: row for row in self.sweeps()}
        if name not in sweeps:
            raise UserError(_unknown(name, sorted(sweeps)))
        return sweeps[name]

    def entries(self, sweep: str, *, trials: Collection[str] | None = None, every: bool = False) -> list[EntryRow]:
        """The sweep's entries but the superseded ones, by stage and position, each with the sweep's last attempt for it.

        trials: only the entries of these; every: the superseded ones too.
        """
        attempt, trial = schema.attempt.c, schema.trial.c
        last = (attempt.trial_id == _ENTRY.trial_id) & (attempt.number == _ENTRY.attempt)
        query = (
            select(*_ATTEMPT_COLUMNS, trial.config, schema.entry)
            .select_from(schema.entry)
            .join(schema.trial, trial.id == _ENTRY.trial_id)
            .outerjoin(schema.attempt, last)
            .where(_ENTRY.sweep == sweep, *([_ENTRY.trial_id.in_(trials)] if trials is not None else []))
        )
        query = query if every else query.where(~_ENTRY.superseded)
        rows = self._rows(query.order_by(_ENTRY.stage, _ENTRY.position, _ENTRY.key))
        return [_entry_row(row) for row in rows]

    def trial_entries(self, begins: str) -> list[EntryRow]:
        """The entries of every sweep about the trials whose ids begin so, superseded ones too, the latest first."""
        named = _ENTRY.trial_id.startswith(begins, autoescape=True)
        found = self._rows(select(_ENTRY.sweep, _ENTRY.trial_id).where(named).distinct())
        rows = [row for sweep, trial in found for row in self.entries(sweep, trials=[trial], every=True)]
        return sorted(rows, key=lambda row: row.updated_at, reverse=True)

    def attempts(self, sweep: str) -> list[AttemptRow]:
        """The attempts that this sweep made, in the order they began."""
        attempt = schema.attempt.c
        query = select(schema.attempt).where(attempt.sweep == sweep)
        return [attempt_row(row) for row in self._rows(query.order_by(attempt.started_at, attempt.trial_id, attempt.number))]

    def open_attempts(self, sweep: str) -> list[AttemptRow]:
        """The attempts of this sweep that have not ended."""
        attempt = schema.attempt.c
        rows = self._rows(select(schema.attempt).where(attempt.sweep == sweep, attempt.outcome.is_(None)))
        return [attempt_row(row) for row in rows]

    def most_micro_batch(self, trial_id: str) -> int | None:
        """Half of the smallest micro-batch that was too large for the trial; None where none was."""
        attempt = schema.attempt.c
        too_large = (attempt.trial_id == trial_id, attempt.cause == Cause.OUT_OF_MEMORY)
        smallest = self._rows(select(func.min(attempt.micro_batch)).where(*too_large))[0][0]
        return max(1, smallest // 2) if smallest is not None else None

    def finished_images(self, trial_id: str, *, most: int) -> int:
        """The largest budget up to `most` images that the trial was scored at; 0 where there is none."""
        score = schema.score.c
        return self._rows(select(func.max(score.images)).where(score.trial_id == trial_id, score.images <= most))[0][0] or 0

    def scores(self, sweep: str, *, every: bool = False) -> list[ScoreRow]:
        """The scores at the sweep's own budgets by its own evaluations, whichever sweep made them; every: those of what is
        planned no more too."""
        wanted = (SCORED, _ENTRY.sweep == sweep, *([] if every else [~_ENTRY.superseded]))
        planned = exists().where(*wanted).correlate(schema.score)
        return [ScoreRow(*row) for row in self._rows(select(schema.score).where(planned))]

    def rung_values(self, sweep: str) -> list[RungRow]:
        """What the sweep's trials measured on the way, up to its own budgets, by trial and image count."""
        rung = schema.rung_value.c
        columns = select(schema.rung_value)
        needed = (_ENTRY.sweep == sweep, ~_ENTRY.superseded, _ENTRY.trial_id == rung.trial_id, _ENTRY.images >= rung.images)
        query = columns.where(exists().where(*needed).correlate(schema.rung_value))
        return [RungRow(*row) for row in self._rows(query.order_by(rung.trial_id, rung.images, rung.metric, rung.weights))]

    def evaluated(self, trial_id: str) -> list[Evaluated]:
        """What the trial has been found to score by evaluations that no sweep planned, the earliest first."""
        event = schema.event.c
        query = select(event.data).where(event.trial_id == trial_id, event.kind == EventKind.EVALUATED).order_by(event.id)
        return [Evaluated.model_validate(row.data) for row in self._rows(query)]

    def tuning_spans(self, sweep: str) -> list[tuple[float, float]]:
        """When each evaluation began and ended that the sweep's file asked for to tune its trials' sampling."""
        event = schema.event.c
        query = select(event.at, event.data).where(event.sweep == sweep, event.kind == EventKind.EVALUATED)
        return [(row.at - row.data["seconds"], row.at) for row in self._rows(query) if row.data.get("tunes_sweep")]

    def tuned(self, sweep: str) -> dict[str, Tuned]:
        """Each trial of the sweep at its own best setting, as it was found last, by the trial's id."""
        event = schema.event.c
        wanted = (event.trial_id.in_(_trials_of(sweep)), event.kind == EventKind.TUNED)
        rows = self._rows(select(event.trial_id, event.data).where(*wanted).order_by(event.id))
        return {row.trial_id: Tuned.model_validate(row.data) for row in rows}

    def noise(self, sweep: str) -> NoiseMeasured | None:
        """How far equal trials of the sweep come out apart, as it was measured last; None where it was not."""
        event = schema.event.c
        query = select(event.data).where(event.sweep == sweep, event.kind == EventKind.NOISE).order_by(event.id.desc())
        rows = self._rows(query.limit(1))
        return NoiseMeasured.model_validate(rows[0].data) if rows else None

    def rung_pictures(self, sweep: str) -> list[PictureRow]:
        """The pictures that this sweep's attempts drew on the way, by trial and images; of one drawn twice the last."""
        event = schema.event.c
        query = select(event.trial_id, event.data).where(event.sweep == sweep, event.kind == EventKind.RUNG)
        drawn = {
            (trial, data["images"], kind): address
            for trial, data in self._rows(query.order_by(event.id))
            for kind, address in (data.get("pictures") or {}).items()
        }
        return [PictureRow(*key, address) for key, address in sorted(drawn.items())]

    def verdicts(self, sweep: str) -> list[VerdictRow]:
        """The scheduler's verdicts, in the order of races, arms and gates."""
        verdict = schema.verdict.c
        columns = select(verdict.race, verdict.racer, verdict.gate, verdict.go_on, verdict.reason, verdict.created_at)
        rows = self._rows(columns.where(verdict.sweep == sweep).order_by(verdict.race, verdict.racer, verdict.gate))
        return [VerdictRow(*row) for row in rows]

    def asked(self, sweep: str) -> list[tuple[float, Asked]]:
        """What the sweep's verdicts were planned to answer, and when, the earliest first."""
        event = schema.event.c
        query = select(event.at, event.data).where(event.sweep == sweep, event.kind == EventKind.ASKED).order_by(event.id)
        return [(at, Asked.model_validate(data)) for at, data in self._rows(query)]

    def last_event(self, sweep: str) -> int:
        """The number of the sweep's last event; 0 before the first. It rises with every change of the sweep's entries."""
        event = schema.event.c
        return self._rows(select(func.max(event.id)).where(event.sweep == sweep))[0][0] or 0

    def trials_changed_since(self, sweep: str, after: int) -> frozenset[str] | None:
        """The trials whose entries the events after the one numbered `after` may have changed; None: those of any trial.

        An event that names a trial changes no other trial's entries.
        """
        event = schema.event.c
        query = select(event.trial_id).where(event.sweep == sweep, event.id > after).distinct().limit(MOST_NAMED + 1)
        named = frozenset(row.trial_id for row in self._rows(query))
        return None if None in named or len(named) > MOST_NAMED else named

    def end_reason(self, sweep: str) -> str:
        """Why the sweep's last run did not go to its end; empty where it did, or was interrupted."""
        event = schema.event.c
        query = select(event.data).where(event.sweep == sweep, event.kind == EventKind.FINISHED)
        rows = self._rows(query.order_by(event.id.desc()).limit(1))
        return Finished.model_validate(rows[0][0]).reason if rows else ""

    def stop_asked_by(self, sweep: str) -> str | None:
        """Who has asked the sweep's run to stop."""
        rows = self._rows(select(schema.sweep.c.stop_asked_by).where(schema.sweep.c.name == sweep))
        return rows[0][0] if rows else None

    def events_since(self, sweep: str, after: int, *, limit: int) -> list[EventRow]:
        """The next events after the one numbered `after` (0 from the start), in order."""
        event = schema.event.c
        query = select(schema.event).where(event.sweep == sweep, event.id > after).order_by(event.id).limit(limit)
        return [_event_row(row) for row in self._rows(query)]

    def heldout(self, sweep: str) -> HeldoutRow | None:
        """What real held-out images of the sweep's data get at its evaluation's n; None until a trial has measured it."""
        trial, score, real = schema.trial.c, schema.score.c, schema.heldout.c
        pairs = select(trial.data_digest, score.n, score.evaluation_id).join_from(schema.entry, schema.score, SCORED)
        pairs = pairs.join(schema.trial, trial.id == _ENTRY.trial_id).where(_ENTRY.sweep == sweep, ~_ENTRY.superseded)
        pair = pairs.distinct().subquery()
        query = select(real.data_digest, real.n, schema.heldout.c["values"], schema.heldout.c["rows"])
        query = query.join(pair, and_(*(pair.c[name] == real[name] for name in ("data_digest", "n", "evaluation_id"))))
        rows = self._rows(query.order_by(real.n.desc(), real.created_at).limit(1))
        return HeldoutRow(*rows[0]) if rows else None

    def attempts_at_trials(self, sweep: str) -> list[AttemptRow]:
        """All attempts at this sweep's trials, whichever sweep made them, by trial and number."""
        attempt = schema.attempt.c
        query = select(schema.attempt).where(attempt.trial_id.in_(_trials_of(sweep)))
        return [attempt_row(row) for row in self._rows(query.order_by(attempt.trial_id, attempt.number))]

    def cost(self, sweep: str) -> list[CostRow]:
        """Seconds that attempts at this sweep's trials took, whichever sweep made them, by kind of work."""
        cost = schema.cost.c
        query = select(cost.trial_id, cost.attempt, cost.kind, cost.seconds).where(cost.trial_id.in_(_trials_of(sweep)))
        return [CostRow(*row) for row in self._rows(query.order_by(cost.trial_id, cost.attempt, cost.kind))]

    def being_trained(self) -> frozenset[str]:
        """Trials with an open attempt of a sweep that somebody runs."""
        run = [row.name for row in self.sweeps() if row.is_run]
        attempt = schema.attempt.c
        query = select(attempt.trial_id).where(attempt.outcome.is_(None), attempt.sweep.in_(run))
        return frozenset(row.trial_id for row in self._rows(query))

    def now(self) -> float:
        """Seconds since the epoch by the database's clock."""
        with self._engine.connect() as connection:
            return self._clock(connection)

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _trials_of(sweep: str) -> Select[tuple[str]]:
    """Every trial that a sweep has ever planned."""
    return select(_ENTRY.trial_id).where(_ENTRY.sweep == sweep)


def _entry_row(row: Row[Any]) -> EntryRow:
    own = len(_ATTEMPT_COLUMNS)
    entry = dict(zip(_ENTRY_COLUMNS, row[own + 1 :], strict=True))
    number, evaluation = entry.pop("attempt"), entry.pop("evaluation")
    entry["state"], entry["rungs"], entry["gates"] = EntryState(entry["state"]), tuple(entry["rungs"]), tuple(entry["gates"])
    return EntryRow(
        **entry,
        attempt=attempt_row(row[:own]) if number is not None else None,
        trial_json=row[own],
        evaluation_json=evaluation,
    )


def _event_row(row: Row[Any]) -> EventRow:
    return EventRow(
        id=row.id,
        sweep=row.sweep,
        at=row.at,
        kind=EventKind(row.kind),
        trial_id=row.trial_id,
        attempt=row.attempt,
        sequence=row.sequence,
        data=row.data,
    )


def _sweep_row(row: Row[Any], *, counts: dict[EntryState, int], now: float) -> SweepRow:
    taken = row.lease_expires_at is not None and row.lease_expires_at > 0
    owner = Owner(*(getattr(row, f"lease_{name}") for name in Owner._fields)) if taken else None
    return SweepRow(
        name=row.name,
        fingerprint=row.fingerprint,
        identity=row.facts,
        spec=row.spec,
        state=SweepState(row.state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        counts=counts,
        owner=owner,
        is_run=owner is not None and is_held(owner, expires_at=row.lease_expires_at, now=now),
        stop_asked_by=row.stop_asked_by,
    )


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return f"the ledger has no sweep {name!r}, nor any other; run one first"
    names = f"it has {', '.join(known[:8])}{' and more' if len(known) > 8 else ''}"
    return f"the ledger has no sweep {name!r}; {did_you_mean(name, known, otherwise=names)}"
