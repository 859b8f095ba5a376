"""Reports on their way to the ledger's writer. While it is away they wait here, and training goes on to the next rung."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from trainables.lane.messages import Letter
from trainables.report import Decision

_log = logging.getLogger(__name__)
PATIENCE_S = 30.0
"""How long training waits for the writer; then it goes on to the next rung."""
GLANCE_S = 0.5
"""How long each later report waits to see whether the writer is back."""


class Away(Exception):
    """Nobody has taken the letter in time: it may or may not have arrived."""


T = TypeVar("T")
Deliver = Callable[[Letter, float], Decision]
"""Hand a letter over within some seconds; its answer. Away: nobody took it."""


class Outbox:
    """Delivers letters in order. What needs no answer never holds training up for longer than the patience, once an outage."""

    def __init__(self, deliver: Deliver, *, patience_s: float = PATIENCE_S) -> None:
        self._deliver, self._patience_s = deliver, patience_s
        self._waiting: deque[Letter] = deque()

    def post(self, letter: Letter) -> None:
        """Deliver a letter, or keep it for later: its answer does not matter."""
        patience_s = GLANCE_S if self._waiting else self._patience_s
        self._waiting.append(letter)
        try:
            self._empty(patience_s)
        except Away as error:
            if len(self._waiting) == 1:
                _log.warning("reports wait until the sweep's writer is back: %s", error)

    def ask(self, letter: Letter) -> Decision:
        """Deliver all that waits, then this letter; its answer, however long that takes."""
        self.deliver_all()
        return self._persist(lambda: self._deliver(letter, self._patience_s))

    def deliver_all(self) -> None:
        """Deliver all that waits, however long that takes."""
        self._persist(lambda: self._empty(self._patience_s))

    def drop(self) -> None:
        """Drop all that waits."""
        self._waiting.clear()

    def _persist(self, attempt: Callable[[], T]) -> T:
        began = time.monotonic()
        while True:
            try:
                return attempt()
            except Away as error:
                _log.warning("waiting for the sweep's writer for %.0f s: %s", time.monotonic() - began, error)

    def _empty(self, patience_s: float) -> None:
        """Deliver what waits, in order. Away: not all of it; the first that waits may have arrived, and then has no effect."""
        while self._waiting:
            self._deliver(self._waiting[0], patience_s)
            self._waiting.popleft()
