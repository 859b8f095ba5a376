"""What somebody who does not run a sweep may write about it: that its run is to stop."""

import time
from collections.abc import Callable

from sqlalchemy import Engine, update

from jit_sweep.ledger import events, schema
from jit_sweep.ledger.connect import writing
from jit_sweep.ledger.event_records import StopAsked
from jit_sweep.ledger.lease import lock


def ask_to_stop(engine: Engine, sweep: str, *, by: str, clock: Callable[[], float] = time.time) -> None:
    """Ask a sweep's run to save and pause its trials; it looks once a second. The next run to take its lease forgets it."""
    with writing(engine) as connection:
        lock(connection, sweep)  # its writer's events and this one come one after the other
        connection.execute(update(schema.sweep).where(schema.sweep.c.name == sweep).values(stop_asked_by=by))
        events.append(connection, StopAsked(by=by), sweep=sweep, at=clock())
