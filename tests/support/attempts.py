"""Attempts at trials, and what a sweep wanted of them, as the ledger has them; told in a few words."""

from dataclasses import fields
from typing import Any

from jit_sweep.ledger.records import AttemptRow, EntryRow, EntryState

TARGET = 960


def attempt(trial_id: str = "t", number: int = 1, **told: Any) -> AttemptRow:
    """An attempt that began at 0 s and runs; what was last heard of an ended one was heard at its end."""
    open_one = {"trial_id": trial_id, "number": number, "sweep": "mine", "target_images": TARGET, "started_at": 0.0}
    rest = {"images": 0, "step": 0, "lane": "lane", "host": "node", "pid": 1, "updated_at": told.get("ended_at", 0.0)}
    return AttemptRow(**{**dict.fromkeys(AttemptRow._fields), **open_one, **rest, **told})


def done(trial_id: str = "t", number: int = 1, *, ended_at: float, **told: Any) -> AttemptRow:
    """An attempt that reached its target and saved it."""
    target = told.get("target_images", TARGET)
    reached = {"images": target, "checkpoint_images": target, "outcome": "done"}
    return attempt(trial_id, number, ended_at=ended_at, **{**reached, **told})


def entry(trial_id: str = "t", state: str = "done", *, last: AttemptRow | None = None, **told: Any) -> EntryRow:
    """What a sweep wanted of a trial; `last` is the sweep's own last attempt at it."""
    rest = {"sweep": "mine", "images": TARGET, "evaluation_id": "e", "cached": False}
    blank = dict.fromkeys(field.name for field in fields(EntryRow))
    return EntryRow(**{**blank, **rest, "trial_id": trial_id, "state": EntryState(state), "attempt": last, **told})
