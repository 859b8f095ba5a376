"""What SIGINT and SIGTERM do: before a sweep runs they end the command, then the first asks and the second ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from trainables.report import ExitCode


class Interrupt:
    """While a sweep runs, the first SIGINT or SIGTERM asks trials to save and pause; the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Until the sweep runs, both raise KeyboardInterrupt, so that what has been started is taken down."""
        with _handled_by(self._raise):
            yield

    def check(self) -> None:
        """KeyboardInterrupt: there was one, though a library that was just being imported has swallowed it."""
        if self.asked.is_set():
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Install the handlers; after ray.init, which brings its own."""
        with _handled_by(self._handle):
            yield

    def _raise(self, kind: int, frame: FrameType | None) -> None:
        self.asked.set()
        raise KeyboardInterrupt

    def _handle(self, kind: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(ExitCode.INTERRUPTED)
        self.asked.set()


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {kind: signal.signal(kind, handler) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, former in before.items():
            signal.signal(kind, former)
