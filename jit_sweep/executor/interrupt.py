"""The first SIGINT or SIGTERM asks; the second ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trainables.report import ExitCode


class Interrupt:
    """The first SIGINT or SIGTERM asks trials to save and pause; the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Install the handlers; after ray.init, which brings its own."""
        before = {kind: signal.signal(kind, self._handle) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _handle(self, kind: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(ExitCode.INTERRUPTED)
        self.asked.set()
