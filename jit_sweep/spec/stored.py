"""A sweep file as a ledger keeps it: another version may have written it, under other rules."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.spec.explained import explain
from jit_sweep.spec.sweep import SweepSpec

Stored = Mapping[str, Any]


def readable(stored: Stored) -> SweepSpec | None:
    """A stored file; None where this version refuses it."""
    try:
        return SweepSpec.model_validate(_as_it_ran(stored))
    except ValidationError:
        return None


def stored_spec(stored: Stored, *, sweep: str) -> SweepSpec:
    """The stored file of a sweep. UserError: this version refuses it."""
    try:
        return SweepSpec.model_validate(_as_it_ran(stored))
    except ValidationError as error:
        rule = f"the ledger's file of the sweep {sweep!r} must be one that this version reads, and it is not"
        faults = explain(error, source=sweep, model=SweepSpec)
        raise UserError(f"{rule}; use the jit-sweep that ran it\n{faults}") from None


def as_it_stopped(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """A stored scheduler: one that lacks `audit` is of a version that drew no sample, and its decisions stand."""
    return {**scheduler} if scheduler.get("kind", "none") == "none" else {"audit": None, **scheduler}


def _as_it_ran(stored: Stored) -> Stored:
    scheduler = stored.get("scheduler")
    return {**stored, "scheduler": as_it_stopped(scheduler)} if isinstance(scheduler, Mapping) else stored
