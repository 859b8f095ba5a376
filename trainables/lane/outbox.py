"""Reports on their way to the ledger's writer. While it is away they wait, and then go to a file until it is back."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
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

    def __init__(self, deliver: Deliver, spool: Path, *, patience_s: float = PATIENCE_S) -> None:
        self._deliver, self._spool, self._patience_s = deliver, spool, patience_s
        self._waiting = 0
        self.drop()  # what a process of the same number has left behind

    def post(self, letter: Letter) -> None:
        """Deliver a letter, or keep it for later: its answer does not matter."""
        try:
            if self._waiting:
                self._keep(letter)
                self._empty(GLANCE_S)
            else:
                self._deliver(letter, self._patience_s)
        except Away as error:
            if not self._waiting:
                _log.warning("reports go to %s until the sweep's writer is back: %s", self._spool, error)
                self._keep(letter)

    def ask(self, letter: Letter) -> Decision:
        """Deliver all that waits, then this letter; its answer, however long that takes."""
        self.deliver_all()
        return self._persist(lambda: self._deliver(letter, self._patience_s))

    def deliver_all(self) -> None:
        """Deliver all that waits, however long that takes."""
        self._persist(lambda: self._empty(self._patience_s))

    def drop(self) -> None:
        """Drop all that waits."""
        self._spool.unlink(missing_ok=True)
        self._waiting = 0

    def _persist(self, attempt: Callable[[], T]) -> T:
        began = time.monotonic()
        while True:
            try:
                return attempt()
            except Away as error:
                _log.warning("waiting for the sweep's writer for %.0f s: %s", time.monotonic() - began, error)

    def _keep(self, letter: Letter) -> None:
        with self._spool.open("a") as file:
            file.write(f"{letter.model_dump_json()}\n")
        self._waiting += 1

    def _empty(self, patience_s: float) -> None:
        """Deliver what waits, in order. Away: not all of it; what has gone is delivered again next time, without effect."""
        if self._waiting:
            for line in self._spool.read_text().splitlines():
                self._deliver(Letter.model_validate_json(line), patience_s)
            self.drop()
