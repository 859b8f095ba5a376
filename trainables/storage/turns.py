"""Turns at making a file: who comes second waits for it, and makes it alone where the first one is gone."""

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from trainables.storage.folder import Folder

POLL_S = 2.0
BEAT_S = 10.0
GONE_S = 60.0
"""A turn that was not renewed for so long, by the waiting one's own clock, is over."""

T = TypeVar("T")


class FileTurn:
    """A turn at one file. It saves work and guards nothing: two makers must both be right."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder, self._name = folder, f"{name}.turn"
        self._clock, self._wait = clock, wait
        self._own = secrets.token_hex(8)
        self._beats, self._beaten = 0, 0.0

    def taken(self, found: Callable[[], T | None]) -> T | None:
        """Wait for the turn; what `found` finds meanwhile, or None once it is this one's."""
        seen, since = b"", self._clock()
        while not self._folder.create(self._name, self._mark()):
            if (thing := found()) is not None:
                return thing
            held = self._held()
            if held != seen:
                seen, since = held, self._clock()
            elif self._clock() - since > GONE_S:
                self._folder.remove(self._name)
            self._wait(POLL_S)
        self._beaten = self._clock()
        return found()

    def beat(self) -> None:
        """Show that it is being made."""
        if self._clock() - self._beaten >= BEAT_S:
            self._beats, self._beaten = self._beats + 1, self._clock()
            self._folder.put(self._name, self._mark())

    def over(self) -> None:
        """Let the next one."""
        self._folder.remove(self._name)

    def _mark(self) -> bytes:
        return f"{self._own} {self._beats}".encode()

    def _held(self) -> bytes:
        try:
            return self._folder.read(self._name)
        except FileNotFoundError:
            return b""
