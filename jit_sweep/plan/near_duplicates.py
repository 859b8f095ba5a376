"""Cells that train nearly alike under different names, in lines: density of t times weight of the error is one knob."""

from collections.abc import Iterable

from jit_sweep.plan.entry import Entry, Plan, one_a_cell, recipe_id
from trainables.config.fields import content_hash, identity
from trainables.diffusion.emphasis import apart, emphasis

ALIKE = 0.01
"""Largest share of the emphasis that near-duplicates may have at other times."""
ONE_KNOB = {"t_sampling", "loss", "weighting", "t_eps_train"}
"""What reaches training through the emphasis alone, where no term stands beside the squared error."""


def near_duplicate_remarks(plan: Plan) -> list[str]:
    """A line for each set of cells that weigh the times alike and share everything else; they stay apart as planned."""
    trained = {(recipe_id(entry.trial), entry.images): entry for entry in reversed(one_a_cell(plan.whole))}
    beside: dict[str, list[Entry]] = {}
    for entry in reversed(trained.values()):
        if not entry.trial.diffusion.terms and entry.trial.error_kind == "flow":
            beside.setdefault(_all_but_the_knob(entry), []).append(entry)
    sets = [found for entries in beside.values() if len(entries) > 1 for found in _alike(entries)]
    return [_remark(found) for found in sets if len(found) > 1]


def _alike(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Sets of entries, each alike with the first of its set."""
    sets: list[tuple[list[float], list[Entry]]] = []
    for entry in entries:
        own = emphasis(entry.trial.diffusion)
        found = next((members for first, members in sets if apart(own, first) <= ALIKE), None)
        if found is None:
            sets.append((own, [entry]))
        else:
            found.append(entry)
    return [members for _, members in sets]


def _all_but_the_knob(entry: Entry) -> str:
    content = identity(entry.trial)
    rest = {name: value for name, value in content["diffusion"].items() if name not in ONE_KNOB}
    return content_hash({**content, "diffusion": rest, "seed": 0, "images": entry.images})


def _remark(entries: list[Entry]) -> str:
    first, *others = (entry.label for entry in entries)
    rest = ", ".join(others)
    return f"near-duplicates, whose losses weigh the times alike to {ALIKE:.0%} (density times weight): {first} and {rest}"
