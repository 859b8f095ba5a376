"""What a sweep keeps for good: changes of a sweep file that make it another sweep."""

from collections.abc import Mapping
from typing import Any

from jit_sweep.errors import UserError
from jit_sweep.ledger.differences import ABSENT, Change, changes

MOST_SHOWN = 8
_OF_FILE = {"baseline": "baseline", "data": "data", "objective": "objective", "evaluation": "evaluation", "device": "resources"}
"""Keys of a sweep's identity by the key of the file that decides them."""


def refused_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], *, old_facts: Mapping[str, Any], new_facts: Mapping[str, Any]
) -> list[Change]:
    """The keys of the file that make it another sweep; where none of them says why, what they stand for does.

    Args:
        old: the file as it was.
        new: the file as it is.
        old_facts: the sweep's identity.
        new_facts: the identity that the file gives.
    """
    differing = [key for key in {**old_facts, **new_facts} if old_facts.get(key) != new_facts.get(key)]
    found: list[Change] = []
    for key in differing:
        section = _OF_FILE.get(key, key)
        wanted = f"{section}.gpus" if key == "device" else section
        of_file = changes({section: old.get(section)}, {section: new.get(section)})
        named = [change for change in of_file if change.path == wanted or change.path.startswith(f"{wanted}.")]
        named.sort(key=lambda change: change.new == ABSENT)  # what the file says now comes first
        found += named or changes({key: old_facts.get(key)}, {key: new_facts.get(key)})
    return found


class OtherSweep(UserError):
    """A file makes another sweep than the ledger has under its name: the rule, what differs, and the remedy."""

    def __init__(self, name: str, differing: list[Change]) -> None:
        super().__init__(_refusal(name, differing))


def _refusal(name: str, differing: list[Change]) -> str:
    shown = [f"  {change}" for change in differing[:MOST_SHOWN]]
    if len(differing) > len(shown):
        shown.append(f"  and {len(differing) - len(shown)} more")
    rule = f"a sweep keeps its baseline, data, objective and evaluation, and {name!r} has run with others"
    return "\n".join([f"{rule}; rename the sweep, or choose another home with --home:", *shown])
