"""A sweep file whose only faults are impossible counts, read as if they were possible: what else is wrong can then be told."""

from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from jit_sweep.spec.sweep import SweepSpec

MANY_IMAGES = 2**24 * 3**3 * 5**3 * 7
"""Whole batches of nearly every size, and too many for a warm-up or an average not to fit."""


def mistakes(error: ValidationError) -> list[Any]:
    """What pydantic found, but for lists that it calls too short because it does not count their faulty members."""
    items = error.errors(include_url=False)
    deeper = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in deeper]


def with_possible_counts(tree: dict[str, Any], error: ValidationError) -> SweepSpec | None:
    """The sweep in a file that was refused, with a possible count for each impossible one; None where more is wrong."""
    mended = deepcopy(tree)
    for item in mistakes(error):
        count = _possible(item)
        if count is None or not _put(mended, item["loc"], count):
            return None
    try:
        return SweepSpec.model_validate(mended)
    except ValidationError:
        return None


def _possible(item: Any) -> int | None:
    """A count in the place of one that was refused; None for what is no count."""
    key, value, bounds = item["loc"][-1] if item["loc"] else "", item["input"], item.get("ctx", {})
    if key == "seeds":
        return 1
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if key == "images_per_trial":
        return MANY_IMAGES
    return {
        "greater_than": int(bounds.get("gt", 0)) + 1,
        "greater_than_equal": int(bounds.get("ge", 0)),
        "less_than_equal": int(bounds.get("le", 0)),
    }.get(item["type"])


def _put(tree: Any, loc: tuple[str | int, ...], value: int) -> bool:
    """Put a value at a place that pydantic names, in whose path the unions' tags stand as well; whether there is one."""
    *path, last = loc
    for part in path:
        here = (isinstance(tree, dict) and part in tree) or (isinstance(tree, list) and isinstance(part, int))
        tree = tree[part] if here else tree
    if not isinstance(tree, dict) or last not in tree:
        return False
    tree[str(last)] = value
    return True
