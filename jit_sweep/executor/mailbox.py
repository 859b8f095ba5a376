"""A lane as the sweep's actor sees it: what it was offered, the work it has, who works there, and what became of it."""

import asyncio
from dataclasses import dataclass, field

from trainables.lane.messages import AttemptKey, Offer, TaskOutcome, WorkerAddress, WorkItem


@dataclass
class Mailbox:
    """A lane's mailbox."""

    waiting: Offer | None = None
    """A trial that the lane has been given and none of its workers has taken yet; no attempt is open for it."""
    offered_at: float = 0.0
    told: bool = False
    """Whether it is recorded that it waits."""
    refused: TaskOutcome | None = None
    """Why the last offer came to no attempt; None where it came to one."""
    work: WorkItem | None = None
    key: AttemptKey | None = None
    """Of the last work, open or over; None before the first."""
    open: bool = False
    outcome: TaskOutcome | None = None
    """Of the last work, once it is over."""
    dismissed: bool = False
    workers: dict[int, WorkerAddress] = field(default_factory=dict)
    """By rank."""
    heard: dict[int, float] = field(default_factory=dict)
    """By rank: when its last sign of life came."""
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an offer is taken: asked for by several workers, it opens one attempt."""

    @property
    def open_key(self) -> AttemptKey | None:
        """Of the work that is not over; None where there is none."""
        return self.key if self.open else None

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for what its workers do."""
        return self.open or self.waiting is not None

    def has_opened(self, offer: Offer) -> bool:
        """Whether this offer was made before, and has come to the last attempt."""
        return self.key != offer.after

    def wait(self, offer: Offer, *, now: float) -> None:
        """Keep a trial until a worker comes for it; one that is kept already waits on."""
        if self.waiting != offer:
            self.waiting, self.offered_at, self.told, self.refused = offer, now, False, None

    def refuse(self, outcome: TaskOutcome) -> None:
        """End an offer without an attempt."""
        self.waiting, self.refused = None, outcome

    def put(self, work: WorkItem) -> None:
        self.waiting, self.work, self.key, self.open, self.outcome = None, work, work.key, True, None

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
