"""What of a run's surroundings is away: one line as it goes, with what goes on meanwhile, and one as it comes back."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from jit_sweep.ledger.records import when

LONGEST_REASON = 160


class Surrounding(StrEnum):
    """What may be away."""

    LEDGER = "the ledger"
    STORAGE = "the storage"
    MLFLOW = "MLflow"
    NODES = "a node of the cluster"


MEANWHILE = {
    Surrounding.LEDGER: "trials train on to their next rung, keep their reports, and wait there",
    Surrounding.STORAGE: "its trials wait, longer each time, and then go on from their last checkpoint; the others train on",
    Surrounding.MLFLOW: "trials train on, and it gets later what it misses",
    Surrounding.NODES: "the other lanes train on, and its trials go over to them",
}


class Absence(NamedTuple):
    """Since when a part is away, and why."""

    since: float
    why: str


class Outages:
    """Tells each outage once. May be called by several threads."""

    def __init__(self, tell: Callable[[str], None], *, clock: Callable[[], float] = time.time) -> None:
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._missing: dict[Surrounding, Absence] = {}

    def note(self, part: Surrounding, why: str) -> None:
        """A part cannot be reached because of `why`; empty where it can."""
        with self._lock:
            known = self._missing.get(part)
            if why and known is None:
                now = self._clock()
                self._missing[part] = Absence(now, why)
                self._tell(f"{part} is away since {when(now)} ({_short(why)}): {MEANWHILE[part]}")
            elif known is not None and not why:
                del self._missing[part]
                self._tell(f"{part} is back, after {self._clock() - known.since:.0f} s")

    def lasts_s(self, part: Surrounding) -> float:
        """Seconds for which a part has been away; 0 where it is there."""
        known = self._missing.get(part)
        return self._clock() - known.since if known is not None else 0.0


def _short(why: str) -> str:
    line = " ".join(why.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 4]} ..."
