"""The ledger as the sweep's actor talks to it: one call at a time, from a thread, and waiting while its database is away."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import DatabaseAway, is_away, open_engine, unusable
from jit_sweep.ledger.lease import LedgerGone

_log = logging.getLogger(__name__)
T = TypeVar("T")
AWAY_S = 1.0
"""How long to leave a database alone that cannot be reached."""


UNUSABLE_S = 20.0
"""How long a ledger may refuse to be written before the run ends; of a server that is away there is no such limit."""


class PatientCalls:
    """Calls that end when the database has answered: while it is away whoever asked waits."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._one_at_a_time, self._clock = asyncio.Lock(), clock
        self._unusable_since: float | None = None
        self.away = ""
        """Why the database cannot be reached or written now; empty where it can."""

    async def answer(self, call: Callable[[], T]) -> T:
        """What a call returns or raises, made again and again while the database is away. LedgerGone: as `missed` has it."""
        while True:
            try:
                async with self._one_at_a_time:
                    answer = await asyncio.to_thread(call)
            except DatabaseAway as error:
                self.missed(error)
            else:
                self.away = self.away if self._unusable_since is not None else ""
                return answer
            await asyncio.sleep(AWAY_S)

    def missed(self, error: DatabaseAway) -> None:
        """Take note of a call that failed. LedgerGone: no call will succeed. What was asked of it is at fault: that error."""
        fault = unusable(error)
        if not fault and not is_away(error):
            raise error
        self.away = fault or str(error.orig or error)
        _log.warning("the ledger cannot be reached, trying again: %s", error)
        if not fault:
            return
        self._unusable_since = self._unusable_since if self._unusable_since is not None else self._clock()
        if self._clock() - self._unusable_since >= UNUSABLE_S:
            raise LedgerGone(f"the ledger must be writable, got for {UNUSABLE_S:g} s: {fault}; mend it, and run the sweep anew")

    def written(self) -> None:
        """Take note that the ledger has been written."""
        self._unusable_since, self.away = None, ""


def opened(ledger: str) -> Any:
    """The ledger, once it can be reached. The driver has had it open; and an actor that fails to start is not started again."""
    while True:
        try:
            return open_engine(ledger)
        except UserError as error:
            _log.warning("waiting for the ledger: %s", error)
        time.sleep(AWAY_S)
