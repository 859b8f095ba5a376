"""What a sweep file says otherwise than the ledger, in a line for each key and for each thing that follows. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jit_sweep.edits.consequences import of_gone, of_grid, of_search
from jit_sweep.ledger.differences import Change, changes
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, ScoreRow, SweepRow
from jit_sweep.ledger.refusals import OtherSweep, refused_changes
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.places import Place, adopted, places
from jit_sweep.results.comparable import Marks
from jit_sweep.results.further import with_further
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.spec.stored import readable
from jit_sweep.spec.sweep import SweepSpec


class _Pair(NamedTuple):
    """A stage of the file, and what it was before; None: it is new."""

    now: Place
    before: Place | None


def read_difference(reader: LedgerReader, plan: Plan) -> list[str]:
    """The lines for a plan and a ledger; none where the ledger has no such sweep, or nothing differs. OtherSweep: as below."""
    name = plan.spec.name
    known = {row.name: row for row in reader.sweeps()}
    marks = marks_of(reader.heldout(name)) if name in known else {}
    return difference(plan, known[name], reader.entries(name, every=True), reader.scores(name), marks) if name in known else []


def difference(plan: Plan, sweep: SweepRow, rows: Sequence[EntryRow], scores: Sequence[ScoreRow], marks: Marks) -> list[str]:
    """The lines for a plan and what the ledger holds of its sweep.

    Args:
        rows: the sweep's entries, the superseded ones too.
        scores: those of the others.
        marks: what blank images score.

    OtherSweep: the ledger's sweep has run otherwise, and this file cannot go on with it.
    """
    now = _dumped(plan.spec)
    if plan.fingerprint != sweep.fingerprint:
        raise OtherSweep(sweep.name, refused_changes(sweep.spec, now, old_facts=sweep.identity, new_facts=plan.identity))
    former = readable(sweep.spec)
    before = _dumped(former) if former else sweep.spec
    stages_before = places(former) if former else ()
    pairs = _pairs(stages_before, places(plan.spec))
    lines = [str(change) for change in changes(before, now) if change.path != "stages"]
    lines += _of_keys(pairs, before, now)
    renamed = adopted({(row.stage_id, row.content, row.origin) for row in rows}, [pair.now for pair in pairs])
    lines += _consequences(with_further(plan, rows, scores, marks=marks), pairs, rows, scores, marks, renamed)
    kept = {pair.before for pair in pairs}
    return lines + [of_gone(place, rows) for place in stages_before if place not in kept]


def _consequences(
    plan: Plan,
    pairs: Sequence[_Pair],
    rows: Sequence[EntryRow],
    scores: Sequence[ScoreRow],
    marks: Marks,
    renamed: Mapping[str, str],
) -> Iterator[str]:
    grids = [pair for pair in pairs if pair.now.origin == "grid"]
    of_grids = [line for pair in grids for line in of_grid(plan, pair.now, pair.before, rows, renamed)]
    yield from of_grids
    for pair in pairs:
        if pair.now.origin == "search":
            yield from of_search(plan, pair.now, pair.before, rows, scores, renamed, marks=marks, grids_move=bool(of_grids))


def _of_keys(pairs: Sequence[_Pair], before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of stages that were there before."""
    return [
        str(Change(f"stages[{pair.now.stage}].{change.path}", change.old, change.new))
        for pair in pairs
        if pair.before is not None
        for change in changes(before["stages"][pair.before.stage], now["stages"][pair.now.stage])
    ]


def _pairs(before: Sequence[Place], now: Sequence[Place]) -> list[_Pair]:
    """Stages that are known by the same, else of the same content, else those left over at one place."""
    left, found = list(before), dict[int, Place]()
    for alike in (_same_id, _same_content, _same_place):
        for place in now:
            former = next((old for old in left if place.stage not in found and alike(old, place)), None)
            if former is not None:
                found[place.stage] = former
                left.remove(former)
    return [_Pair(place, found.get(place.stage)) for place in now]


def _same_id(old: Place, new: Place) -> bool:
    return (old.id, old.origin) == (new.id, new.origin)


def _same_content(old: Place, new: Place) -> bool:
    return (old.content, old.origin) == (new.content, new.origin)


def _same_place(old: Place, new: Place) -> bool:
    return (old.stage, old.origin) == (new.stage, new.origin)


def _dumped(spec: SweepSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)
