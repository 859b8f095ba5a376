"""`python -m tests.simulation.mutations`: bugs planted one by one in a copy of the program, and how soon each is seen."""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parent.parent.parent
PARTS = ("jit_sweep", "search_spaces", "trainables", "tests", "pyproject.toml")
LIMIT_S = 60.0
"""Seconds of a core in which a planted bug is to be found."""
PATIENCE_S = 600.0
"""Seconds on the clock, on a machine that does other things too."""


class Mutation(NamedTuple):
    """A bug: a piece of a file of `jit_sweep`, which stands there once, and what is put in its place."""

    name: str
    file: str
    right: str
    wrong: str


MUTATIONS: Sequence[Mutation] = (
    Mutation("no lease check", "ledger/lease.py", "row is None or row.epoch != self.epoch", "row is None"),
    Mutation(
        "a lease that is held is taken",
        "ledger/holder.py",
        "seen is Presence.ALIVE or (seen is Presence.UNKNOWN and expires_at > now)",
        "seen is Presence.ALIVE",
    ),
    Mutation(
        "a takeover keeps the epoch",
        "ledger/lease.py",
        "_set(connection, sweep, epoch=row.epoch + 1,",
        "_set(connection, sweep, epoch=row.epoch,",
    ),
    Mutation(
        "a renewal adds nothing",
        "ledger/lease.py",
        "expires_at=self.clock(connection) + self.ttl_s",
        "expires_at=self.clock(connection)",
    ),
    Mutation(
        "no row lock",
        "ledger/lease.py",
        '== bindparam("name")).with_for_update()',
        '== bindparam("name"))',
    ),
    Mutation(
        "another sweep's trial is taken", "ledger/writer.py", "if last.sweep != sweep and is_run(", "if False and is_run("
    ),
    Mutation(
        "an open attempt is not closed", "ledger/writer.py", "                self._replace(connection, last, now=now)\n", ""
    ),
    Mutation(
        "what is scored begins again",
        "ledger/writer.py",
        "            entries.settle(connection, sweep, now=now, trial_id=trial_id)\n",
        "",
    ),
    Mutation(
        "a repeated report is new",
        "ledger/writer.py",
        "if events.is_recorded(connection, trial_id, attempt, sequence):",
        "if False:",
    ),
    Mutation(
        "an ended attempt goes on",
        "ledger/writer.py",
        "if row.outcome is not None:\n                raise",
        "if False:\n                raise",
    ),
    Mutation("a foreign attempt is written", "ledger/writer.py", "if row.sweep != self._lease.sweep:", "if False:"),
    Mutation(
        "attempts of a dead driver stay open",
        "ledger/writer.py",
        "lost = attempts.close_lost(connection, sweep, now=now)",
        "lost = 0",
    ),
    Mutation(
        "the last checkpoint is forgotten",
        "ledger/attempts.py",
        "last.checkpoint_images <= images",
        "last.checkpoint_images < 0",
    ),
    Mutation(
        "close without settling",
        "ledger/attempts.py",
        "    entries.settle(connection, attempt.sweep, now=now, trial_id=attempt.trial_id)\n",
        "",
    ),
    Mutation("< for <= at the cutoff", "schedulers/cutoff.py", "if place <= self.keep:", "if place < self.keep:"),
    Mutation("the share is rounded up", "schedulers/cutoff.py", "len(order) // reduction", "-(-len(order) // reduction)"),
    Mutation(
        "an arm is there with its first seed",
        "schedulers/race.py",
        "for seed in self.seeds) and not self.is_coming_to(gate)",
        "for seed in self.seeds)",
    ),
    Mutation(
        "what is in flight is handed out again",
        "executor/searcher.py",
        "in_flight={*flying, *self._still_busy()}",
        "in_flight=self._still_busy()",
    ),
    Mutation(
        "a place is never free again",
        "executor/searcher.py",
        "self._in_flight.pop(trial_id, None)",
        "self._in_flight.get(trial_id)",
    ),
    Mutation(
        "a new actor forgets its lanes", "executor/actor.py", "self._mailboxes = self._known_lanes()", "self._mailboxes = {}"
    ),
    Mutation("an offer made twice opens twice", "executor/actor.py", "if not mailbox.has_opened(offer):", "if True:"),
    Mutation(
        "a lane that asks again gets a second attempt",
        "ledger/writer.py",
        "(last.sweep, last.lane, last.target_images) == (sweep, lane, images)",
        "False",
    ),
    Mutation("a run that was taken over is shown on", "tracking/mirror.py", "if not self._ours():", "if False:"),
    Mutation(
        "MLflow's cursor stands for events to come",
        "tracking/delivery.py",
        "CURSOR: str(last.id)}",
        "CURSOR: str(last.id + 1)}",
    ),
    Mutation("a silent worker is never missed", "executor/actor.py", "> self._silent_s", "> 1e9"),
)


class Hunt(NamedTuple):
    """What came of one planted bug."""

    found: bool
    seconds: float
    said: str


def _core_s() -> float:
    """Seconds of a core that this process's children have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def planted(mutation: Mutation, folder: Path) -> None:
    """Write the bug into a copy. ValueError: the piece does not stand there once."""
    file = folder / "jit_sweep" / mutation.file
    text = file.read_text()
    if text.count(mutation.right) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.file} must have {mutation.right!r} once, got {text.count(mutation.right)}"
        )
    file.write_text(text.replace(mutation.right, mutation.wrong))


def hunted(mutation: Mutation) -> Hunt:
    """Play seeds on a copy that has the bug until one breaks something."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in PARTS:
            source, target = TOP / part, folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        planted(mutation, folder)
        command = [sys.executable, "-m", "tests.simulation", "--stop", "--first", "0", "--seconds", str(LIMIT_S)]
        settings = {**os.environ, "PYTHONPATH": name, "OMP_NUM_THREADS": "1"}
        began = _core_s()
        with subprocess.Popen(
            command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as hunt:
            try:
                out, errors = hunt.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(hunt.pid, signal.SIGKILL)  # with its PostgreSQL server
                return Hunt(False, _core_s() - began, "")
        said = (out.strip() or errors.strip() or "nothing").splitlines()
        return Hunt(hunt.returncode == 1, _core_s() - began, said[0])


def main() -> int:
    """A row for each bug; 1 where more than one in twenty is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="bugs whose name has this in it")
    only = parser.parse_args().only
    chosen = [mutation for mutation in MUTATIONS if only in mutation.name]
    found = 0
    for mutation in chosen:
        hunt = hunted(mutation)
        found += hunt.found
        word = f"{hunt.seconds:5.1f} s" if hunt.found else "not found"
        print(f"{mutation.name:40} {word:>10}  {hunt.said[:110] if hunt.found else ''}", flush=True)  # noqa: T201
    print(f"{found} of {len(chosen)} found")  # noqa: T201
    return 0 if found >= len(chosen) * 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
