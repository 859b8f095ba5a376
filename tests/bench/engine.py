"""The service: how long a command takes, a warm lane between two trials, and a thousand trials."""

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.reader import LedgerReader
from tests.bench.table import say
from tests.support.cli import environment, jit_sweep
from tests.support.sweep_files import write_sweep

REPEATS = 5
SEEDS = 12


def table() -> None:
    """Wall times. Compare within one run."""
    say("what", "figure", "bar")
    for command in (["--help"], ["validate", "quickstart"], ["plan", "quickstart"]):
        say(f"jit-sweep {' '.join(command)}", f"{median(seconds_of(command) for _ in range(REPEATS)):.2f} s", "about 0.5 s")
    gaps = trial_to_trial()
    say(f"warm lane, end of one trial to first step of the next (median of {len(gaps)})", f"{median(gaps):.2f} s", "0.2 s")
    say("warm lane, the slowest of them", f"{max(gaps):.2f} s")
    said = thousand()
    say("1,000 trials on played lanes, of which a hundred fail", f"{said['seconds']:.0f} s", "180 s")
    say("driver's memory at their end", f"{said['memory_bytes'] / 2**20:.0f} MiB")
    say("its growth from 100 to 1,000 trials", f"{said['growth_bytes'] / 2**20:.0f} MiB", "200 MiB")


def seconds_of(command: list[str]) -> float:
    """Wall time of a whole command."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "jit_sweep", *command], env=environment(Path.home()), check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def thousand() -> dict[str, float]:
    """What a driver of a thousand trials says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.support.sham_lanes", folder, "1000"]
        done = subprocess.run(command, env=environment(Path(folder)), check=True, capture_output=True, text=True)
        said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return said


def trial_to_trial() -> list[float]:
    """Seconds from a trial's last report to the next one's first, on lanes that were warm."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stages = [{"grid": {"axes": {"prediction": ["x"]}, "seeds": SEEDS}}]
        done = jit_sweep("run", write_sweep(folder, stages=stages), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        reader = LedgerReader(open_engine(f"sqlite:///{folder}/.jit-sweep/ledger.db"))
        lanes = {row.trial_id: row.lane for row in reader.attempts("tiny")}
        ended: dict[str, float] = {}
        gaps = defaultdict(list)
        for event in reader.events_since("tiny", 0, limit=100_000):
            lane = lanes.get(event.trial_id or "", "")
            if event.kind is EventKind.ENDED:
                ended[lane] = event.at
            elif event.kind is EventKind.PROGRESS and lane in ended:
                gaps[lane].append(event.at - ended.pop(lane))
        return [gap for lane in gaps.values() for gap in lane]
