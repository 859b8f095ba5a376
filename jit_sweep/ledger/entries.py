"""How a sweep's entries are planned, hidden and closed. Only a score or a divergence that is in the ledger closes one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, exists, false, not_, or_, select, update

from jit_sweep.ledger import events, schema
from jit_sweep.ledger.connect import insert_new
from jit_sweep.ledger.event_records import CacheHit, EntriesDiverged
from jit_sweep.ledger.records import SETTLED, AttemptRow, EntryState
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.places import Place, adopted

_ENTRY = schema.entry.c
_SCORE = schema.score.c
_LOOSE = {"stage", "content", "base", "position", "arm", "rungs", "origin", "gates", "race", "protected"}
"""What an entry's key does not fix."""

SCORED: ColumnElement[bool] = and_(
    _SCORE.trial_id == _ENTRY.trial_id, _SCORE.images == _ENTRY.images, _SCORE.evaluation_id == _ENTRY.evaluation_id
)
"""An entry's score is the one at its own budget, by its own evaluation."""


def add(connection: Connection, sweep: str, entries: Sequence[Entry], *, now: float) -> int:
    """Plan entries and their trials; returns how many are new. The others take the place that they are planned in now."""
    trials = {entry.trial_id: entry.trial for entry in entries}
    rows = [
        {"id": name, "config": config.model_dump_json(), "data_digest": config.data.digest, "attempts": 0, "created_at": now}
        for name, config in trials.items()
    ]
    insert_new(connection, schema.trial, rows)
    known = set(connection.scalars(select(_ENTRY.key).where(_ENTRY.sweep == sweep)))
    fresh = [_row(sweep, entry, now=now) for entry in entries if entry.key not in known]
    insert_new(connection, schema.entry, fresh)
    _restate(connection, sweep, [entry for entry in entries if entry.key in known])
    return len(fresh)


def shown(connection: Connection, sweep: str) -> dict[str, dict[str, Any]]:
    """What is planned by now and not hidden, by key: all that planning again may change, and what places it in its race."""
    columns = [_ENTRY.racer, _ENTRY.seed, _ENTRY.stage_id, *(_ENTRY[name] for name in sorted(_LOOSE))]
    rows = connection.execute(select(_ENTRY.key, *columns).where(_ENTRY.sweep == sweep, ~_ENTRY.superseded))
    return {row["key"]: dict(row) for row in rows.mappings()}


def gates_differ(connection: Connection, sweep: str, entries: Sequence[Entry]) -> bool:
    """Whether some of these were planned with other gates before: a verdict is about the gate of its number."""
    racing = select(_ENTRY.key, _ENTRY.gates).where(_ENTRY.sweep == sweep, _ENTRY.race != "")
    known = {row.key: tuple(row.gates) for row in connection.execute(racing)}
    return any(known.get(entry.key, entry.gates) != entry.gates for entry in entries)


def hide_grid(connection: Connection, sweep: str) -> None:
    """Hide all that grids have planned, and what tunes their arms; what they plan still is to be added again."""
    connection.execute(of_sweep(sweep).where(_ENTRY.origin != "search").values(superseded=True))


def adopt(connection: Connection, sweep: str, places: Sequence[Place]) -> None:
    """Give what a stage planned to the one that has taken its content over under another name."""
    columns = (_ENTRY.stage_id, _ENTRY.content, _ENTRY.origin)
    known = connection.execute(select(*columns).where(_ENTRY.sweep == sweep).distinct()).all()
    for old, new in adopted({(row.stage_id, row.content, row.origin) for row in known}, places).items():
        _rename(connection, sweep, old, new)


def _rename(connection: Connection, sweep: str, old: str, new: str) -> None:
    """Let a stage's entries and verdicts be those of another name."""
    races = f"stage={old}", f"stage={new}"
    rows = connection.execute(select(_ENTRY.key, _ENTRY.race).where(_ENTRY.sweep == sweep, _ENTRY.stage_id == old)).all()
    for row in rows:
        values = {"stage_id": new, "key": new + row.key.removeprefix(old), "race": _renamed(row.race, *races)}
        connection.execute(of_sweep(sweep).where(_ENTRY.key == row.key).values(**values))
    verdict = schema.verdict.c
    for race in {row.race for row in rows}:
        judged = update(schema.verdict).where(verdict.sweep == sweep, verdict.race == race)
        connection.execute(judged.values(race=_renamed(race, *races)))


def _renamed(race: str, old: str, new: str) -> str:
    return new + race.removeprefix(old) if race == old or race.startswith(f"{old} ") else race


def keep_searches(connection: Connection, sweep: str, places: Sequence[Place]) -> None:
    """Hide what searches proposed that the file has no more; the others take the places that they have in it now."""
    proposed = (_ENTRY.sweep == sweep, _ENTRY.origin == "search")
    of_file = [and_(_ENTRY.stage_id == p.id, _ENTRY.content == p.content) for p in places if p.origin == "search"]
    connection.execute(update(schema.entry).where(*proposed, not_(or_(false(), *of_file))).values(superseded=True))
    for place, its in zip((p for p in places if p.origin == "search"), of_file, strict=True):
        connection.execute(update(schema.entry).where(*proposed, its).values(stage=place.stage))


def hide(connection: Connection, sweep: str, keys: Sequence[str]) -> None:
    """Hide entries by their keys; their scores stay."""
    if keys:
        hidden = of_sweep(sweep).where(_ENTRY.key == bindparam("the_key")).values(superseded=True)
        connection.execute(hidden, [{"the_key": key} for key in keys])


def supersede(connection: Connection, sweep: str, entries: Sequence[Entry]) -> None:
    """Hide what the same stages planned for these entries' trials at other budgets."""
    planned = {entry.key for entry in entries}
    slots = {(entry.stage_id, entry.trial_id, entry.evaluation.id) for entry in entries}
    columns = select(_ENTRY.key, _ENTRY.stage_id, _ENTRY.trial_id, _ENTRY.evaluation_id)
    rows = connection.execute(columns.where(_ENTRY.sweep == sweep, ~_ENTRY.superseded)).all()
    others = [row for row in rows if row.key not in planned]
    hide(connection, sweep, [row.key for row in others if (row.stage_id, row.trial_id, row.evaluation_id) in slots])


def settle(connection: Connection, sweep: str, *, now: float, trial_id: str | None = None) -> None:
    """Close the entries whose score, or whose trial's divergence, is known: one trial's, or all that no attempt runs for."""
    limit = [_ENTRY.trial_id == trial_id if trial_id is not None else _ENTRY.state != EntryState.RUNNING]
    _count_cache_hits(connection, sweep, limit, now=now)
    scored = of_sweep(sweep).where(*limit, _ENTRY.state != EntryState.DONE, exists().where(SCORED))
    connection.execute(scored.values(state=EntryState.DONE, updated_at=now))
    trial = schema.trial.c
    diverged = exists().where(trial.id == _ENTRY.trial_id, trial.diverged_images <= _ENTRY.images)
    doomed = (_ENTRY.sweep == sweep, *limit, _ENTRY.state.not_in(SETTLED), diverged)
    # Sorted here: asked for the order, sqlite would walk the whole sweep by its key.
    keys = sorted(connection.scalars(select(_ENTRY.key).where(*doomed)))
    if keys:
        connection.execute(update(schema.entry).where(*doomed).values(state=EntryState.DIVERGED, updated_at=now))
        events.append(connection, EntriesDiverged(keys=tuple(keys)), sweep=sweep, at=now)


def leave_out(connection: Connection, sweep: str, keys: Sequence[str], *, why: str, now: float) -> None:
    """Mark waiting entries that the budget does not hold."""
    left = of_sweep(sweep).where(_ENTRY.key == bindparam("the_key"), _ENTRY.state == EntryState.WAITING)
    values = left.values(state=EntryState.OUT_OF_BUDGET, why=why, updated_at=now)
    connection.execute(values, [{"the_key": key} for key in keys])


def has_unsettled(connection: Connection, sweep: str, trial_id: str, images: int) -> bool:
    """Whether a sweep still wants this trial at `images`. ValueError: it never did."""
    columns = select(_ENTRY.state, _ENTRY.superseded)
    wanted = columns.where(_ENTRY.sweep == sweep, _ENTRY.trial_id == trial_id, _ENTRY.images == images)
    rows = connection.execute(wanted).all()
    if not rows:
        raise ValueError(f"an entry must be planned, got trial {trial_id} at {images} images in the sweep {sweep!r}")
    return any(row.state not in SETTLED and not row.superseded for row in rows)


def run(connection: Connection, attempt: AttemptRow, *, now: float) -> None:
    """Mark the entries that an attempt is opened for."""
    wanted = (_ENTRY.trial_id == attempt.trial_id, _ENTRY.images == attempt.target_images, _ENTRY.state.not_in(SETTLED))
    running = of_sweep(attempt.sweep).where(*wanted, ~_ENTRY.superseded)
    values = {"state": EntryState.RUNNING, "attempt": attempt.number, "why": "", "updated_at": now}
    connection.execute(running.values(**values))


def is_unscored(connection: Connection, attempt: AttemptRow) -> bool:
    """Whether an entry that this attempt runs for has no score."""
    served = (_ENTRY.sweep == attempt.sweep, _ENTRY.trial_id == attempt.trial_id, _ENTRY.attempt == attempt.number)
    unscored = select(_ENTRY.key).where(*served, ~exists().where(SCORED).correlate(schema.entry))
    return connection.scalar(unscored.limit(1)) is not None


def of_sweep(sweep: str) -> Update:
    """An update of a sweep's entries, to be narrowed and given values."""
    return update(schema.entry).where(_ENTRY.sweep == sweep)


def _count_cache_hits(connection: Connection, sweep: str, limit: list[ColumnElement[bool]], *, now: float) -> None:
    """Mark and record the entries that are about to be done by a score that no attempt of theirs made."""
    columns = select(_ENTRY.key, _ENTRY.trial_id, _SCORE.attempt, _SCORE.created_at, _SCORE.code_version)
    foreign = _ENTRY.attempt.is_distinct_from(_SCORE.attempt)
    hits = connection.execute(
        columns.join_from(schema.entry, schema.score, SCORED).where(
            _ENTRY.sweep == sweep, _ENTRY.state != EntryState.DONE, foreign, *limit
        )
    ).all()
    for hit in hits:
        connection.execute(of_sweep(sweep).where(_ENTRY.key == hit.key).values(cached=True))
        age_s = now - hit.created_at
        record = CacheHit(key=hit.key, attempt=hit.attempt, age_s=age_s, code_version=hit.code_version)
        events.append(connection, record, sweep=sweep, at=now, trial_id=hit.trial_id)


def _restate(connection: Connection, sweep: str, entries: Sequence[Entry]) -> None:
    """Show entries again, as they are planned now: what their key does not fix may have changed with the sweep file."""
    if not entries:
        return
    rows = [
        {"the_key": entry.key} | {f"new_{name}": value for name, value in entry.model_dump(include=_LOOSE, mode="json").items()}
        for entry in entries
    ]
    new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _LOOSE}
    connection.execute(of_sweep(sweep).where(_ENTRY.key == bindparam("the_key")).values(**new, superseded=False), rows)


def _row(sweep: str, entry: Entry, *, now: float) -> dict[str, Any]:
    plain = entry.model_dump(include=_LOOSE | {"stage_id", "seed", "images"}, mode="json")
    return {
        **plain,
        "sweep": sweep,
        "key": entry.key,
        "trial_id": entry.trial_id,
        "evaluation_id": entry.evaluation.id,
        "evaluation": entry.evaluation.model_dump_json(),
        "state": EntryState.WAITING,
        "cached": False,
        "superseded": False,
        "racer": entry.racer,
        "not_before": 0.0,
        "alone": False,
        "why": "",
        "updated_at": now,
    }
