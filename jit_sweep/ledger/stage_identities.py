"""The migration to version 6: stages have identities, and proposals name the cell that they change. It is never changed again,
and calls nothing of the program: what the program means by a word may change."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import JSON, Connection, Integer, String, column, select, table, text, update

_SWEEP = table("sweep", *(column("name", String), column("spec", JSON), column("facts", JSON), column("searched", JSON)))
_ENTRY = table(
    "entry",
    *(column(name, String) for name in ("sweep", "key", "trial_id", "evaluation", "origin", "race", "stage_id", "content")),
    *(column("stage", Integer), column("position", Integer), column("arm", JSON), column("base", JSON)),
)


class _Stage(NamedTuple):
    """A stage as version 6 knows it."""

    id: str
    content: str
    origin: str
    spaces: Mapping[str, Any]
    """Of its axes."""
    from_cell: bool
    """Whether its proposals change the best cell of the grids before."""


def stages_have_identities(connection: Connection) -> None:
    """Version 6: what a stage is known by, what it looks for, and the cell that a proposal changes."""
    for statement in (
        "ALTER TABLE entry ADD COLUMN stage_id VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN content VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN base JSON NOT NULL DEFAULT '{}'",
    ):
        connection.execute(text(statement))
    configs = {row.id: json.loads(row.config) for row in connection.execute(text("SELECT id, config FROM trial"))}
    for sweep in connection.execute(select(_SWEEP)).all():
        stages = list(_stages(sweep.spec))
        rows = connection.execute(select(_ENTRY).where(_ENTRY.c.sweep == sweep.name).order_by(*_ENTRY_ORDER)).all()
        for row in rows:
            _name_stage(connection, row, stages, base=_base(row, rows, stages, configs, sweep.facts))
        races = connection.scalars(text("SELECT DISTINCT race FROM verdict WHERE sweep = :sweep"), {"sweep": sweep.name}).all()
        for race in races:
            named = {"sweep": sweep.name, "old": race, "new": _race(race, stages)}
            connection.execute(text("UPDATE verdict SET race = :new WHERE sweep = :sweep AND race = :old"), named)
        searched = [_stage_id(index, stages) for index in sweep.searched]
        connection.execute(update(_SWEEP).where(_SWEEP.c.name == sweep.name).values(searched=searched))


_ENTRY_ORDER = (_ENTRY.c.stage, _ENTRY.c.position, _ENTRY.c.key)
_UNKNOWN = _Stage("", "", "", {}, from_cell=False)


def _stages(spec: Mapping[str, Any]) -> Iterator[_Stage]:
    taken: set[str] = set()
    sought: dict[str, Any]
    for stage in spec.get("stages", ()):
        if "grid" in stage:
            origin, axes, sought = "grid", stage["grid"]["axes"], {"axes": sorted(stage["grid"]["axes"])}
        else:
            search = stage["search"]
            origin, axes = "search", search["axes"]
            missing = {"sampler": "tpe", "options": {}, "seed": 0, "limits": {}, "objectives": None}
            sought = {"start": search.get("from", "baseline"), "axes": axes}
            sought |= {key: search.get(key, value) for key, value in missing.items()}
        content = content_hash(sought)[:8]
        names = (f"{origin}-{content}", *(f"{origin}-{content}-{number}" for number in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield _Stage(name, content, origin, axes, sought.get("start") == "best_cell")


def _stage_id(index: int, stages: list[_Stage]) -> str:
    """A stage that the file had no more is known by its place."""
    return stages[index].id if index < len(stages) else f"stage-{index}"


def _race(race: str, stages: list[_Stage]) -> str:
    first, space, rest = race.partition(" ")
    index = first.removeprefix("stage=")
    return f"stage={_stage_id(int(index), stages)}{space}{rest}" if index.isdigit() else race


def _name_stage(connection: Connection, row: Any, stages: list[_Stage], *, base: Mapping[str, Any]) -> None:
    """What a search proposed that its file's space does not hold any more has no content: it is nobody's."""
    stage = stages[row.stage] if row.stage < len(stages) else _UNKNOWN
    known = stage.origin == row.origin and (row.origin == "grid" or _holds(stage.spaces, row.arm))
    named = {"stage_id": _stage_id(row.stage, stages), "content": stage.content if known else "", "base": base}
    named |= {"key": named["stage_id"] + row.key.removeprefix(str(row.stage)), "race": _race(row.race, stages)}
    connection.execute(update(_ENTRY).where(_ENTRY.c.sweep == row.sweep, _ENTRY.c.key == row.key).values(**named))


def _holds(spaces: Mapping[str, Any], arm: Mapping[str, Any]) -> bool:
    return all(
        axis in spaces
        and (space["low"] <= value <= space["high"] if isinstance(space := spaces[axis], dict) else value in space)
        for axis, value in arm.items()
    )


def _base(
    row: Any, rows: Iterable[Any], stages: list[_Stage], configs: Mapping[str, Any], facts: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The cell that a proposal changed: of the grids' cells before it, and of the baseline, the one that it is most like."""
    stage = stages[row.stage] if row.stage < len(stages) else _UNKNOWN
    if row.origin != "search" or not stage.from_cell:
        return {}
    own = _leaves({"trial": configs[row.trial_id], "evaluation": json.loads(row.evaluation)})
    best: Mapping[str, Any] = {}
    fewest = _differing(own, _leaves({"trial": facts.get("baseline", {})}))
    for cell in [cell for cell in rows if cell.origin == "grid" and cell.stage < row.stage]:
        count = _differing(own, _leaves({"trial": configs[cell.trial_id], "evaluation": json.loads(cell.evaluation)}))
        if count < fewest or (count == fewest and not best):
            best, fewest = cell.arm, count
    return best


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Leaves that both have, and that differ; a seed is no part of a cell."""
    return sum(one[path] != other[path] for path in one.keys() & other.keys() if path != "trial.seed")


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if parts is None:
        return {path: tree}
    return {leaf: value for key, part in parts for leaf, value in _leaves(part, f"{path}.{key}".strip(".")).items()}


def content_hash(tree: Any) -> str:
    """First 12 hex digits of SHA-256 over sorted JSON, by which versions 2 and 6 name things."""
    plain = json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]
