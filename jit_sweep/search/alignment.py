"""What a search has proposed in earlier runs, as the sweep file has it now.

A proposal counts where its stage, what the stage looks for, and the cell that it changes are still the same. It gets the seeds
and the budget of the file; everything else that the stage planned is retired.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.ledger.records import EntryRow
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.search.origin import Origin, proposed_entry
from search_spaces.cells import put


@dataclass(frozen=True)
class Alignment:
    """What a search's former proposals lack, and what is theirs no more."""

    planned: tuple[Entry, ...]
    """To be planned, or planned otherwise."""
    retired: tuple[str, ...]
    """Keys of entries to be hidden."""

    def __bool__(self) -> bool:
        return bool(self.planned or self.retired)


def aligned(rows: Sequence[EntryRow], planner: Planner, start: Origin, *, stage: int) -> Alignment:
    """The alignment of a stage's search; `rows`: all entries of its sweep, the superseded ones too."""
    place = planner.places[stage]
    own = [row for row in rows if row.stage_id == place.id and row.origin == "search"]
    wanted = {entry.key: entry for arm in _arms(own, planner, start, stage=stage) for entry in arm}
    shown = {row.key: row for row in own if not row.superseded}
    changed = (entry for key, entry in wanted.items() if key not in shown or _differs(shown[key], entry))
    return Alignment(tuple(changed), tuple(key for key in shown if key not in wanted))


def _arms(own: Sequence[EntryRow], planner: Planner, start: Origin, *, stage: int) -> list[list[Entry]]:
    """The entries of each proposal that counts. Beyond the number that the file asks for, what has begun stays."""
    search, content = searches(planner.spec)[stage], planner.places[stage].content
    arms: dict[str, list[EntryRow]] = {}
    for row in sorted(own, key=lambda row: (row.position, row.key)):
        if row.content == content and search.holds(row.arm) and start.is_of(row.base, planner):
            arms.setdefault(json.dumps(dict(row.arm), sort_keys=True), []).append(row)
    planned: list[list[Entry]] = []
    for arm in arms.values():
        if len(planned) < search.trials or any(row.attempt is not None or row.cached for row in arm):
            planned += _entries(arm, planner, start, stage=stage)
    return planned


def _entries(arm: Sequence[EntryRow], planner: Planner, start: Origin, *, stage: int) -> list[list[Entry]]:
    """A proposal's entries, a seed each; none where it makes no trial at the file's budget."""
    search, positions = searches(planner.spec)[stage], {row.seed: row.position for row in reversed(arm)}
    seeds = range(search.seed, search.seed + search.seeds)
    try:
        cell = put(start.recipe, arm[0].arm)
        entries = [
            proposed_entry(planner, start, cell, stage=stage, seed=seed, position=positions.get(seed, arm[0].position))
            for seed in seeds
        ]
    except ValueError:
        return []
    return [entries]


def _differs(row: EntryRow, entry: Entry) -> bool:
    before = (row.stage, row.content, dict(row.base), row.race, row.gates, row.rungs, row.protected)
    return before != (entry.stage, entry.content, entry.base, entry.race, entry.gates, entry.rungs, entry.protected)
