"""What becomes of a stage's trials when its sweep file has changed, in words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jit_sweep.ledger.records import EntryRow, ScoreRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.places import Place
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import proposals, searches
from jit_sweep.results.comparable import Marks
from jit_sweep.search.alignment import aligned
from jit_sweep.search.origin import start_of
from trainables.config.fields import counted

Rows = Sequence[EntryRow]
Renamed = Mapping[str, str]
"""Ids of stages that go on under another, by the former."""


class _Pair(NamedTuple):
    """A trial as the ledger has it, and what the file plans in its place."""

    before: EntryRow
    now: Entry


def of_grid(plan: Plan, now: Place, before: Place | None, rows: Rows, renamed: Renamed) -> Iterator[str]:
    """What becomes of a grid's arms and trials, and of those that tune its arms."""
    planned, name = [entry for entry in plan.whole if entry.stage == now.stage], _named(plan, now)
    if before is None:
        yield f"{name} is new: {counted(len(planned), 'trial')}"
        return
    shown = [row for row in rows if not row.superseded and _id(row, renamed) in (now.id, before.id)]
    if now.stage in plan.waiting:
        yield from _of_waiting(plan, now, shown)
        return
    for origin, of in (("grid", name), ("tuning", f"the tuning of {name}")):
        own, known = [entry for entry in planned if entry.origin == origin], [row for row in shown if row.origin == origin]
        yield from _of_arms(of, own, known, rows)


def _of_waiting(plan: Plan, now: Place, shown: Rows) -> Iterator[str]:
    """A stage of which nothing is known before an earlier one has ended."""
    if shown:
        names = " and ".join(choice.name for choice in plan.waiting[now.stage])
        history = f"its {counted(len(shown), 'trial')} {_stay(len(shown))} as history, and {_return(len(shown))} where that"
        yield f"{_named(plan, now)} waits until it is known again which arm is {names}: {history} is the same"


def _of_arms(name: str, planned: Sequence[Entry], shown: Rows, rows: Rows) -> Iterator[str]:
    cells, cells_before = {_cell(entry.arm) for entry in planned}, {_cell(row.arm) for row in shown}
    if added := cells - cells_before:
        yield f"{name}: {counted(len(added), 'arm')} added"
    if lost := [row for row in shown if _cell(row.arm) not in cells]:
        arms = len({_cell(row.arm) for row in lost})
        yield f"{name}: {counted(arms, 'arm')} retired, of {counted(len(lost), 'trial')}, which {_stay(len(lost))} as history"
    staying = {_slot(row): row for row in shown if _cell(row.arm) in cells}
    wanted = {_slot(entry): entry for entry in planned if _cell(entry.arm) in cells_before}
    yield from _seeds(name, fresh=len(wanted.keys() - staying.keys()), lost=len(staying.keys() - wanted.keys()))
    yield from _budgets(name, [_Pair(staying[slot], wanted[slot]) for slot in staying.keys() & wanted.keys()], rows)


def of_search(
    plan: Plan,
    now: Place,
    before: Place | None,
    rows: Rows,
    scores: Sequence[ScoreRow],
    renamed: Renamed,
    *,
    marks: Marks,
    grids_move: bool,
) -> Iterator[str]:
    """What becomes of a search's proposals. `grids_move`: the grids' arms change too, and with them perhaps the best cell."""
    name, wanted = _named(plan, now), proposals(plan)[now.stage]
    if before is None:
        yield f"{name} is new: {counted(wanted, 'trial')} proposed later"
        return
    own = [row for row in rows if row.origin == "search" and _id(row, renamed) in (now.id, before.id)]
    shown = [row for row in own if not row.superseded]
    if now.stage in plan.waiting:
        yield from _of_waiting(plan, now, shown)
        return
    if before.content != now.content:
        yield f"{name} looks for something else: {_history(shown)}, {wanted} are proposed anew"
    elif shown:
        yield from _of_known(plan, now, rows, own, scores, marks=marks, wanted=wanted, grids_move=grids_move)


def of_gone(place: Place, rows: Rows) -> str:
    """A stage that the file has no more."""
    lost = [row for row in rows if not row.superseded and (row.stage_id, row.origin) == (place.id, place.origin)]
    history = f": {_history(lost)}" if lost else ""
    return f"the {place.word} that was stage {place.stage} is in the file no more{history}"


def _of_known(
    plan: Plan,
    now: Place,
    rows: Rows,
    own: Rows,
    scores: Sequence[ScoreRow],
    *,
    marks: Marks,
    wanted: int,
    grids_move: bool,
) -> Iterator[str]:
    """A search that looks for the same: its proposals may have another cell to start from, other seeds or another budget."""
    name, planner, planned = _named(plan, now), Planner.of(plan), {entry.key for entry in plan.entries}
    grid = [row for row in rows if not row.superseded and row.key in planned]
    start = start_of(planner, grid, scores, stage=now.stage, marks=marks)
    shown = [row for row in own if not row.superseded]
    moved = {_slot(e): e for e in aligned([_as(row, now) for row in own], planner, start, stage=now.stage).planned}
    foreign = [row for row in shown if not start.is_of(row.base, planner)]
    if foreign:
        yield f"{name} starts from another cell: {_history(foreign)}, {wanted} are proposed anew"
        return
    yield from _budgets(name, [_Pair(row, moved[_slot(row)]) for row in shown if _slot(row) in moved], rows)
    search = searches(plan.spec)[now.stage]
    lost = sum(row.seed not in range(search.seed, search.seed + search.seeds) for row in shown)
    yield from _seeds(name, fresh=len(moved.keys() - {_slot(row) for row in shown}), lost=lost)
    if grids_move and search.start == "best_cell":
        yield f"{name} starts from the best cell: where that becomes another one, {wanted} trials are proposed anew"


def _as(row: EntryRow, place: Place) -> EntryRow:
    """A row under the name that its stage goes on by."""
    return row if row.stage_id == place.id else replace(row, stage_id=place.id)


def _seeds(name: str, *, fresh: int, lost: int) -> Iterator[str]:
    if fresh:
        yield f"{name}: {counted(fresh, 'trial')} more of the arms that it has"
    if lost:
        yield f"{name}: {counted(lost, 'trial')} of arms that stay retired"


def _budgets(name: str, pairs: Sequence[_Pair], rows: Rows) -> Iterator[str]:
    """What another budget does to trials that stay. One whose warm-up or cosine follows the budget becomes another trial."""
    known = {row.trial_id for row in rows}
    elsewhere = [pair for pair in pairs if pair.before.images == pair.now.images and pair.before.trial_id != pair.now.trial_id]
    rest = "anew: what they build on is another trial, and what was trained stays as history"
    yield from _counted(name, len(elsewhere), "begin", rest)
    for target in sorted({pair.now.images for pair in pairs if pair.before.images != pair.now.images}):
        own = [pair for pair in pairs if pair.now.images == target]
        same = [pair for pair in own if pair.before.trial_id == pair.now.trial_id]
        yield from _counted(name, sum(pair.before.images < target for pair in same), "go", f"on to {target:,} images")
        yield from _counted(name, sum(pair.before.images > target for pair in same), "count", f"at {target:,} images")
        others = [pair.now.trial_id for pair in own if pair.before.trial_id != pair.now.trial_id]
        anew = f"anew, to {target:,} images: the warm-up or cosine follows the budget, and what was trained stays as history"
        yield from _counted(name, sum(trial not in known for trial in others), "begin", anew)
        yield from _counted(
            name, sum(trial in known for trial in others), "return", f"at {target:,} images, from a former file"
        )


def _counted(name: str, count: int, verb: str, rest: str) -> Iterator[str]:
    if count:
        yield f"{name}: {counted(count, 'trial')} {_singular(verb) if count == 1 else verb} {rest}"


def _singular(verb: str) -> str:
    return f"{verb}{'es' if verb.endswith('o') else 's'}"


def _history(rows: Rows) -> str:
    return f"its {counted(len(rows), 'trial')} {_stay(len(rows))} as history"


def _named(plan: Plan, place: Place) -> str:
    name = plan.spec.stages[place.stage].name
    return f"{place.word} `{name}`" if name else f"stage {place.stage} ({place.word})"


def _id(row: EntryRow, renamed: Renamed) -> str:
    return renamed.get(row.stage_id, row.stage_id)


def _cell(arm: Mapping[str, Any]) -> str:
    return json.dumps(dict(arm), sort_keys=True)


def _slot(entry: EntryRow | Entry) -> tuple[str, int, str]:
    """What an entry is but for its budget."""
    return _cell(entry.arm), entry.seed, entry.evaluation_id if isinstance(entry, EntryRow) else entry.evaluation.id


def _return(count: int) -> str:
    return "returns" if count == 1 else "return"


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"
