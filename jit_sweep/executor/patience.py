"""The ledger as the sweep's actor talks to it: one call at a time, from a thread, and waiting while its database is away."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import DatabaseAway, is_away, open_engine

_log = logging.getLogger(__name__)
T = TypeVar("T")
AWAY_S = 1.0
"""How long to leave a database alone that cannot be reached."""


class PatientCalls:
    """Calls that end when the database has answered: while it is away whoever asked waits."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, call: Callable[[], T]) -> T:
        """What a call returns or raises, made again and again while the database is away."""
        while True:
            try:
                async with self._one_at_a_time:
                    return await asyncio.to_thread(call)
            except DatabaseAway as error:
                if not is_away(error):
                    raise
                _log.warning("the ledger cannot be reached, trying again: %s", error)
            await asyncio.sleep(AWAY_S)


def opened(ledger: str) -> Any:
    """The ledger, once it can be reached. The driver has had it open; and an actor that fails to start is not started again."""
    while True:
        try:
            return open_engine(ledger)
        except UserError as error:
            _log.warning("waiting for the ledger: %s", error)
        time.sleep(AWAY_S)
