"""Silences of a command that goes on: when one is broken, and by what. Nothing is said twice alike."""

import threading
from collections.abc import Callable

FIRST_S = 5.0
"""After this long without a line there is one."""
MOST_S = 60.0
"""While nothing changes the next one comes after twice as long, and after this long at most."""
LOOK_S = 1.0


class Silence:
    """What a command says when it has said nothing for a while. Times are seconds of one clock."""

    def __init__(self, first_s: float = FIRST_S) -> None:
        self._first_s = self._wait_s = first_s
        self._line, self._since, self._at = "", 0.0, 0.0

    def said(self, now: float, *, standing: str = "") -> None:
        """A line was said; `standing`: it told how things stand."""
        self._at, self._wait_s = now, self._first_s
        if standing:
            self._line, self._since = standing, now

    def is_long(self, now: float) -> bool:
        """Whether it is time for a line."""
        return now - self._at >= self._wait_s

    def breaks(self, line: str, now: float) -> str:
        """The line to say now; empty where it is too early. One that was the last such line tells for how long it has held."""
        if not self.is_long(now):
            return ""
        if line != self._line:
            self.said(now, standing=line)
            return line
        self._at, self._wait_s = now, min(2 * self._wait_s, max(MOST_S, self._first_s))
        return f"{line} (for {clock(now - self._since)} now)"


class Unchanging:
    """How things stand, in a line that is drawn again and again: one that does not change says for how long it has held."""

    def __init__(self) -> None:
        self._line, self._since = "", 0.0

    def held(self, line: str, now: float) -> str:
        if line != self._line:
            self._line, self._since = line, now
        for_long = now - self._since >= FIRST_S
        return f"{line} (for {clock(now - self._since)} now)" if for_long else line


class Heartbeat:
    """Calls something every second, from a thread of its own, until it is stopped."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat, self._stopped = beat, threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self._beat()


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
