"""The ledger and what reads it, at ten thousand trials: transactions in, rows out, whole commands."""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jit_sweep.ledger import schema
from jit_sweep.ledger.connect import open_engine, writing
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.schedulers import FirstRung, Halving
from tests.bench.table import say
from tests.support.cli import environment
from tests.support.ledger import IMAGES, LedgerFixture, ended, planned, scored
from tests.support.postgres import postgres
from tests.support.sweep_files import write_sweep
from trainables.evaluation.metrics.registry import verdict_metrics
from trainables.report import Progress, Rung

ARMS, SEEDS = 2500, 4
REPORTS, REPEATS = 500, 3
RACING = (250, 10_000)
PREDICTIONS = ("x", "v", "eps")


def table() -> None:
    """Wall times, but for what says CPU. Compare within one run."""
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
    with tempfile.TemporaryDirectory() as folder:
        say("jit-sweep plan of 2,000 trials, the whole command in a new home, CPU", f"{plan_cpu_s(folder):.2f} s", "1.5 s")
    with tempfile.TemporaryDirectory() as folder:
        scored_at_once(uri := f"sqlite:///{folder}/ledger.db", entries)
        say("jit-sweep leaderboard of 10,000 scored, the whole command, CPU", f"{cpu_s_of('leaderboard', uri):.2f} s", "1.5 s")
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


def scored_at_once(uri: str, entries: Sequence[Entry]) -> None:
    """A ledger with a score of every trial, written without its reports."""
    luck, ledger = random.Random(0), LedgerFixture(open_engine(uri))
    ledger.plan(*entries)
    with writing(ledger.engine) as connection:
        for table, rows in (
            (schema.attempt, [attempt_of(entry) for entry in entries]),
            (schema.score, [score_of(entry, luck.random()) for entry in entries]),
        ):
            connection.execute(table.insert(), rows)
        connection.execute(schema.entry.update().values(attempt=1))
    ledger.writer.settle(ledger.name)


def attempt_of(entry: Entry) -> dict[str, Any]:
    where = {"lane": "lane-0", "host": "node", "pid": 11, "sweep": "mine", "trial_id": entry.trial_id, "number": 1}
    done = {"images": entry.images, "target_images": entry.images, "step": 1, "outcome": "done"}
    return {**where, **done, "started_at": 0.0, "updated_at": 1.0, "ended_at": 1.0}


def score_of(entry: Entry, value: float) -> dict[str, Any]:
    about = {"trial_id": entry.trial_id, "images": entry.images, "evaluation_id": entry.evaluation.id, "n": entry.evaluation.n}
    measured = {"values": dict.fromkeys(verdict_metrics(), value), "raw_values": {}, "without_each": {}, "raw_without_each": {}}
    return {**about, **measured, "grid": "", "collapsed": False, "attempt": 1, "code_version": "bench", "created_at": 1.0}


def plan_cpu_s(folder: str) -> float:
    """CPU seconds of `plan` for two predictions, 250 learning rates and four seeds."""
    axes = {"prediction": ["x", "v"], "learning_rate": [1e-5 * (1 + arm) for arm in range(250)]}
    file = write_sweep(Path(folder), stages=[{"grid": {"axes": axes, "seeds": 4, "contrasts": []}}])
    return cpu_s([sys.executable, "-m", "jit_sweep", "plan", file], folder)


def cpu_s_of(command: str, uri: str) -> float:
    """CPU seconds of a whole command about the sweep."""
    return cpu_s([sys.executable, "-m", "jit_sweep", command, "mine", "--ledger", uri], str(Path.home()))


def cpu_s(command: list[str], home: str) -> float:
    """User and system seconds of a command, the least of some: neighbours only add to them."""
    found = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment(Path(home)), check=True, stdout=subprocess.DEVNULL, cwd=home)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


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
