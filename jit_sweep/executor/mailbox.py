"""A lane as the sweep's actor sees it: the work it has, who works there, and what became of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class WorkItem(NamedTuple):
    """An attempt at a trial, as it is handed to a lane."""

    trial: str
    attempt: int
    images: int
    assignment: str
    """As JSON."""

    @property
    def key(self) -> str:
        """Names it, also after a restart of the actor."""
        return f"{self.trial}:{self.attempt}"


class WorkerAddress(NamedTuple):
    """Where a worker runs."""

    rank: int
    host: str
    pid: int
    node: str
    """Ray's id of its node."""


@dataclass
class Mailbox:
    """A lane's mailbox."""

    work: WorkItem | None = None
    open: bool = False
    outcome: dict[str, Any] | None = None
    """Of the last work, once it is over; with `images`, which Tune's searcher asks of every result."""
    dismissed: bool = False
    places: dict[int, WorkerAddress] = field(default_factory=dict)
    heard: dict[int, float] = field(default_factory=dict)
    """By rank: when its last sign of life came."""
    offering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an offer is looked at: made twice, it opens one attempt."""

    @property
    def key(self) -> str:
        return self.work.key if self.work is not None else ""

    @property
    def trial(self) -> str:
        return self.work.trial if self.work is not None else ""

    def put(self, work: WorkItem) -> None:
        self.work, self.open, self.outcome = work, True, None

    def close(self, outcome: dict[str, Any]) -> None:
        self.open, self.outcome = False, outcome

    def arrive(self, place: WorkerAddress, *, now: float) -> None:
        """A worker shows that it lives."""
        self.places[place.rank] = place
        self.hear(place.rank, now=now)

    def hear(self, rank: int, *, now: float) -> None:
        self.heard[rank] = now

    def silence(self, now: float) -> float:
        """Seconds since the worker that has been silent for longest was heard; 0 before any has arrived."""
        return max((now - at for at in self.heard.values()), default=0.0)
