"""What surrounds a played sweep: hosts with clocks of their own, a ledger that may be away, and a store of checkpoints."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import Owner
from tests.simulation.loop import PlayedLoop, Process, this_process

if TYPE_CHECKING:
    from tests.simulation.tracking import PlayedMlflow

EPOCH = 1_000_000.0
"""Seconds since the epoch at a world's beginning."""


class StorageAway(OSError):
    """The played store cannot be reached."""


@dataclass
class Commit:
    """A checkpoint in the store."""

    images: int
    rung_due: bool = False


@dataclass
class Faults:
    """How often what goes wrong; all off."""

    lost_answers: float = 0.0
    """Share of the ledger's calls that go through, and whose answer is lost."""
    repeated_messages: float = 0.0
    """Share of the messages that are delivered twice."""
    lost_messages: float = 0.0
    """Share of the actor's answers that are lost: who asked it asks again, now or later."""
    skew_s: float = 0.0
    """Most seconds that a host's clock is off."""


@dataclass
class World:
    """All that is not the program."""

    seed: int
    ledger: str
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.loop = PlayedLoop(self.rng)
        self.loop.after_call = self._lose_answer
        self.drawn_away = random.Random(f"away {self.seed}")
        """Of what is lost or cut off, so that nothing else is drawn otherwise where nothing is."""
        self.store: defaultdict[str, dict[int, Commit]] = defaultdict(dict)
        self.ledger_away_until = self.storage_away_until = 0.0
        self.cut_off_until: defaultdict[str, float] = defaultdict(float)
        """By host of a lane: until when nothing passes between it and the actor."""
        self.without_ledger_until: defaultdict[str, float] = defaultdict(float)
        self.without_storage_until: defaultdict[str, float] = defaultdict(float)
        """By host: until when it alone cannot reach the ledger, or the store."""
        self.dead_nodes: set[str] = set()
        """Hosts of lanes that Ray counts as dead, whether they are or not."""
        self.mlflow: PlayedMlflow | None = None
        """What sweeps are shown in; None where they are shown nowhere, so that MLflow is not loaded."""
        self.said: list[str] = []
        """What the commands have said of what is away and what is back."""
        self.skews: dict[str, float] = {}
        self._pids = 100
        self.lanes = 0
        """Lanes that have come up."""
        self.offers: Counter[str] = Counter()
        """By lane: the trials that its owner has offered, each counted once however often it asked."""
        self.trained: defaultdict[str, int] = defaultdict(int)
        """Images that each trial was really trained on, repeated ones too."""
        self.answered: list[tuple[str, int, int]] = []
        """Reports that a worker has an answer to: trial, attempt and sequence."""

    @property
    def now(self) -> float:
        """True time, in seconds since the epoch."""
        return EPOCH + self.loop.time()

    def clock(self, host: str) -> float:
        """A host's own."""
        if host not in self.skews:
            self.skews[host] = self.rng.uniform(-1, 1) * self.faults.skew_s
        return self.now + self.skews[host]

    def database_clock(self, connection: Connection) -> float:
        return self.now

    def owner(self, host: str) -> Owner:
        """A new process on a host of another machine: nobody here can see whether it lives."""
        self._pids += 1
        return Owner(host=host, pid=self._pids, user="played", started_at=self.clock(host), boot_id=f"boot of {host}")

    def open(self, host: str) -> Engine:
        """The ledger for one process of a host; away while the world says so."""
        engine = open_engine(self.ledger)
        self.watch(engine, host)
        return engine

    def watch(self, engine: Engine, host: str) -> None:
        """Let an engine meet the ledger's outages, and those of its host's way there."""

        def refuse_while_away(connection: Connection) -> None:
            if self.loop.time() < max(self.ledger_away_until, self.without_ledger_until[host]):
                raise OperationalError("the played ledger is away", None, OSError("away"))

        event.listen(engine, "begin", refuse_while_away)

    async def wire(self, host: str) -> None:
        """A message's way between a host and the actor's; where nothing passes it waits."""
        await asyncio.sleep(self.rng.uniform(0, 0.05))
        await self.joined(host)

    async def joined(self, host: str) -> None:
        """Return once something passes between a host and the actor's."""
        while (left := self.cut_off_until[host] - self.loop.time()) > 0:
            await asyncio.sleep(left)

    def latest(self, trial: str, *, most: int) -> Commit | None:
        """The last checkpoint of a trial up to `most` images. StorageAway."""
        self._touch_storage()
        return max((at for at in self.store[trial].values() if at.images <= most), key=lambda at: at.images, default=None)

    def commit(self, trial: str, commit: Commit) -> None:
        """StorageAway."""
        self._touch_storage()
        self.store[trial][commit.images] = commit

    def _touch_storage(self) -> None:
        if self.loop.time() < max(self.storage_away_until, self.without_storage_until[this_process().host]):
            raise StorageAway("the played store is away")

    def _lose_answer(self, process: Process) -> None:
        if self.rng.random() < self.faults.lost_answers:
            raise OperationalError("the played answer was lost", None, OSError("lost"))
