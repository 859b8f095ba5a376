"""How a trial is named by hand: by its id, or by the first digits of it."""

from collections.abc import Iterable

from jit_sweep.errors import UserError
from trainables.config.spelling import nearest_name

MOST_LISTED = 4


def full_id(given: str, known: Iterable[str], *, option: str) -> str:
    """The one trial id that begins so. UserError: none does, or several do; `option` is where it was given."""
    ids = sorted(set(known))
    begun = [trial for trial in ids if trial.startswith(given)]
    if not given or not begun:
        meant = nearest_name(given, ids) if given else None
        remedy = f"did you mean {meant}?" if meant else "the sweep's `status` lists them"
        raise UserError(f"`{option}` must name a trial of the sweep, got {given!r}; {remedy}")
    if len(begun) > 1:
        names = ", ".join(begun[:MOST_LISTED])
        raise UserError(f"`{option}` must name one trial, got {given!r}, with which several begin ({names}); give more of it")
    return begun[0]
