"""Run a sweep to its end while its parts are killed: the same command again and again, as a user would."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import ScoreRow, SweepState, VerdictRow
from tests.chaos.disturbed_sweep import NAME, write_disturbed
from tests.chaos.kills import Kill
from tests.chaos.victims import LANE_KINDS, of_kind, strike
from tests.chaos.world import World
from tests.support.cli import environment

POLL_S = 0.05
STUCK_S = 300.0
"""Without an event for this long nothing goes on any more."""
MOST_RUNS = 30
MEASURED = frozenset({EventKind.PROGRESS, EventKind.RUNG, EventKind.COMMITTED, EventKind.SCORED, EventKind.ENDED})


class Stuck(AssertionError):
    """The sweep does not come to its end."""


@dataclass(frozen=True)
class Struck:
    """A kill as it happened, and what the ledger held just before."""

    kill: Kill
    pid: int
    at: float
    event: int
    """The ledger's last."""
    verdicts: tuple[VerdictRow, ...]
    scores: tuple[ScoreRow, ...]


@dataclass
class Disturbed:
    """A sweep in a home of its own."""

    world: World
    folder: Path
    seed: int = 0
    """Of its trials."""
    way: str = "run"
    """`run`, or `submit`: then the command only follows a job of the cluster, whose driver is another process."""
    struck: list[Struck] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    """Of the commands that were not killed."""

    def __post_init__(self) -> None:
        self.file = write_disturbed(self.folder, seed=self.seed, storage=self.world.storage, tracking=self.world.mlflow.url)
        self.said = self.folder / "said.txt"
        self.runs = 0

    def __enter__(self) -> "Disturbed":
        self._command()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    @property
    def reader(self) -> LedgerReader:
        return LedgerReader(open_engine(f"sqlite:///{self.folder / '.jit-sweep' / 'ledger.db'}", create=False))

    @property
    def events(self) -> list[EventRow]:
        return self.reader.events_since(NAME, 0, limit=10**6)

    def suffer(self, kills: Sequence[Kill]) -> None:
        """Kill by the plan, and see the sweep to its end; then run the command once more, which must change nothing. A sweep
        that has ended before the last kills is left in peace."""
        for kill in kills:
            self._await_point(kill)
            if self._done():
                break
            self.world.mend()
            self._strike(kill)
        self._until(self._done, "the sweep does not end")
        self.world.mlflow.wait()
        self.last_event = self.reader.last_event(NAME)
        self.way = "run"  # which also gives MLflow what it missed; `submit` would say that all is done
        self._command()
        self._until(lambda: self.process.poll() is not None, "the last command does not end")
        self.exits.append(self.process.returncode)

    def _await_point(self, kill: Kill) -> None:
        """Until the ledger has grown by enough and there is somebody to kill, or the sweep has ended."""
        wanted = (self.struck[-1].event if self.struck else 0) + kill.events

        def reached() -> bool:
            if self._has_ended():
                return True
            if self._last_event() < wanted or not of_kind(kill.kind, self.world, self.process):
                return False
            return kill.kind not in LANE_KINDS or bool(self.reader.open_attempts(NAME))

        self._until(reached, f"no {kill.kind} to kill after event {wanted}")

    def _strike(self, kill: Kill) -> None:
        victims = of_kind(kill.kind, self.world, self.process)
        if not victims:  # it has ended by itself meanwhile
            self._await_point(kill)
            return None if self._has_ended() else self._strike(kill)
        victim, reader = victims[kill.choice(len(victims))], self.reader
        now = Struck(
            kill, victim.pid, time.time(), self._last_event(), tuple(reader.verdicts(NAME)), tuple(reader.scores(NAME))
        )
        strike(kill.kind, victim, self.world)
        self.struck.append(now)
        if kill.kind == "command":
            self.process.wait()
            self._command()
        return None

    def _until(self, reached: Callable[[], bool], problem: str) -> None:
        seen, since = self._last_event(), time.monotonic()
        while not reached():
            if (last := self._last_event()) != seen:
                seen, since = last, time.monotonic()
            if time.monotonic() - since > STUCK_S:
                raise Stuck(f"{problem}: no event for {STUCK_S:g} s\n{self.said.read_text()[-3000:]}")
            if self.process.poll() is not None and not reached():
                self._again()
            time.sleep(POLL_S)

    def _again(self) -> None:
        """The command has ended by itself before the sweep has."""
        self.exits.append(self.process.returncode)
        if self.runs >= MOST_RUNS:
            raise Stuck(f"the command has ended {self.runs} times\n{self.said.read_text()[-3000:]}")
        self.world.mend()
        self._command()

    def _done(self) -> bool:
        self.world.mend()
        return self._has_ended()

    def _has_ended(self) -> bool:
        return self._last_event() > 0 and self.process.poll() is not None and self.reader.sweep(NAME).state is SweepState.DONE

    def _last_event(self) -> int:
        try:
            return self.reader.last_event(NAME)
        except UserError:  # before the first command has made it
            return 0

    def _command(self) -> None:
        address = self.world.head.address if self.way == "run" else self.world.head.url
        self.runs += 1
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jit_sweep", self.way, self.file, "--address", address],
                cwd=self.folder,
                env=environment(self.folder, **self.world.environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
