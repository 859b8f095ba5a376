"""The ledger and what reads it, at ten thousand trials: transactions in, rows out, whole commands."""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.schedulers import FirstRung, Halving
from tests.bench.table import say
from tests.support.cli import environment
from tests.support.ledger import IMAGES, LedgerFixture, ended, planned, scored
from tests.support.postgres import postgres
from trainables.evaluation.metrics.registry import verdict_metrics
from trainables.report import Progress, Rung

ARMS, SEEDS = 2500, 4
REPORTS, REPEATS = 500, 3
RACING = (250, 10_000)
PREDICTIONS = ("x", "v", "eps")


def table() -> None:
    """Wall times. Compare within one run."""
    say("ten thousand trials", "figure", "bar")
    entries = ten_thousand()
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/ledger.db"
        ledger = in_and_out(uri, entries, on="sqlite")
        fill(ledger, entries[:: len(entries) // REPORTS])
        for command in ("status", "leaderboard"):
            seconds = median(seconds_of(command, uri) for _ in range(REPEATS))
            say(f"jit-sweep {command}, the whole command", f"{seconds:.2f} s", "2 s")
    with postgres() as uri:
        in_and_out(uri, entries, on="PostgreSQL")
    for count in RACING:
        say(f"a rung's report among {count:,} racing trials, CPU", f"{1000 * racing_s(count):.1f} ms", "2 ms")


def in_and_out(uri: str, entries: list[Entry], *, on: str) -> LedgerFixture:
    """A new ledger with all entries in it, measured on the way."""
    ledger = LedgerFixture(open_engine(uri))
    seconds = timed(lambda: ledger.plan(*entries))
    say(f"{on}: trials planned", f"{len(entries) / seconds:,.0f} / s", "1,000 / s")
    reader = LedgerReader(ledger.engine)
    read = median(timed(lambda: reader.entries(ledger.name)) for _ in range(REPEATS))
    say(f"{on}: all entries read", f"{read:.2f} s", "0.5 s")
    attempt = ledger.begin(entries[0])
    reports = [Progress(images=step, step=step, loss=0.1, images_per_second=1.0) for step in range(REPORTS)]
    seconds = timed(lambda: ledger.tell(attempt, *reports))
    say(f"{on}: reports, each a transaction with its check of the lease", f"{REPORTS / seconds:,.0f} / s")
    return ledger


def racing_s(count: int) -> float:
    """CPU seconds of one report at a gate, where so many trials are compared."""
    luck, gate = random.Random(0), IMAGES // 2
    halving = Halving(kind="halving", first_rung=FirstRung(images=gate), s_train=0.01)
    entries = [
        planned(arm={"learning_rate": 1e-6 * (1 + arm)}, position=arm, gates=(gate,), race="all") for arm in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        ledger = LedgerFixture(open_engine(f"sqlite:///{folder}/ledger.db"), decider=Decider(halving))
        ledger.plan(*entries)
        spent = 0.0
        for entry in entries[:REPORTS]:
            attempt, report = ledger.begin(entry), Rung(images=gate, values={halving.metric: luck.random()})
            start = time.process_time()
            ledger.tell(attempt, report)
            spent += time.process_time() - start
    return spent / min(count, REPORTS)


def fill(ledger: LedgerFixture, entries: list[Entry]) -> None:
    """Score some trials."""
    luck = random.Random(0)
    for entry in entries[1:]:
        ledger.tell(ledger.begin(entry), scored(entry, {metric: luck.random() for metric in verdict_metrics()}), ended(entry))


def ten_thousand() -> list[Entry]:
    """A grid of predictions and learning rates, each with four seeds."""
    cells = [{"prediction": PREDICTIONS[arm % 3], "learning_rate": 1e-5 * (1 + arm // 3)} for arm in range(ARMS)]
    return [
        planned(arm=cell, seed=seed, position=arm * SEEDS + seed) for arm, cell in enumerate(cells) for seed in range(SEEDS)
    ]


def seconds_of(command: str, uri: str) -> float:
    """Wall time of a whole command about the sweep."""
    called = [sys.executable, "-m", "jit_sweep", command, "mine", "--ledger", uri]
    return timed(lambda: subprocess.run(called, env=environment(Path.home()), check=True, stdout=subprocess.DEVNULL))


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
