"""A lane as the sweep's actor sees it: the work it has, who works there, and what became of it."""

import asyncio
from dataclasses import dataclass, field

from trainables.lane.messages import AttemptKey, TaskOutcome, WorkerAddress, WorkItem


@dataclass
class Mailbox:
    """A lane's mailbox."""

    work: WorkItem | None = None
    open: bool = False
    outcome: TaskOutcome | None = None
    """Of the last work, once it is over."""
    dismissed: bool = False
    workers: dict[int, WorkerAddress] = field(default_factory=dict)
    """By rank."""
    heard: dict[int, float] = field(default_factory=dict)
    """By rank: when its last sign of life came."""
    offering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an offer is looked at: made twice, it opens one attempt."""

    @property
    def key(self) -> AttemptKey | None:
        """Of the work, open or over; None before the first."""
        return self.work.key if self.work is not None else None

    @property
    def open_key(self) -> AttemptKey | None:
        """Of the work that is not over; None where there is none."""
        return self.key if self.open else None

    def put(self, work: WorkItem) -> None:
        self.work, self.open, self.outcome = work, True, None

    def close(self, outcome: TaskOutcome) -> None:
        self.open, self.outcome = False, outcome

    def arrive(self, worker: WorkerAddress, *, now: float) -> None:
        """A worker shows that it lives."""
        self.workers[worker.rank] = worker
        self.hear(worker.rank, now=now)

    def hear(self, rank: int, *, now: float) -> None:
        self.heard[rank] = now

    def silence(self, now: float) -> float:
        """Seconds since the worker that has been silent for longest was heard; 0 before any has arrived."""
        return max((now - at for at in self.heard.values()), default=0.0)
