"""`make chaos`: sweep after sweep under kill -9, each checked, until so many kills have been made."""

import argparse
import secrets
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from tests.chaos.checks import CHECKS, all_wrong
from tests.chaos.disturb import Disturbed, Stuck
from tests.chaos.kills import deck
from tests.chaos.leftovers import left_behind
from tests.chaos.partition import why_not
from tests.chaos.recovery import Recovery, recoveries
from tests.chaos.reference import Reference
from tests.chaos.victims import KINDS
from tests.chaos.world import World, kept_folder, whole_world


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at least so many, in whole sweeps of one of each kind")
    parser.add_argument("--seed", type=int, default=None, help="of the plan; without one it is drawn, and told")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started here is to be ended here
    folder, without = kept_folder(), why_not()
    say(f"seed {seed}, in {folder}" + (f"; no partitions: {without}" if without else ""))
    with whole_world(folder, apart=not without) as world:
        wrong, found = disturbances(world, folder, kills=asked.kills, seed=seed, partitions=not without)
    table(found)
    if wrong:
        say(f"\n{wrong} sweeps went wrong; seed {seed}; everything is kept in {folder}")
        return 1
    say(f"\nall {len(CHECKS) + 1} checks hold after each of them")
    shutil.rmtree(folder)
    return 0


def disturbances(world: World, folder: Path, *, kills: int, seed: int, partitions: bool) -> tuple[int, list[Recovery]]:
    """Sweeps until enough kills were made; how many went wrong, and how long each kill was felt."""
    wrong, found = 0, list[Recovery]()
    for number in count():
        if len(found) >= kills:
            break
        way = "submit" if number % 2 else "run"
        kinds = [*KINDS, *(["partition"] if partitions else []), *(["driver"] if way == "submit" else [])]
        began = time.monotonic()
        faults, felt = disturbance(world, folder / f"sweep-{number}", way=way, kinds=kinds, seed=seed + number)
        found += felt
        wrong += bool(faults)
        took = f"{len(felt)} kills, {time.monotonic() - began:.0f} s"
        say(f"sweep {number} by `{way}`, seed {seed + number}, {took}: {_told(faults)}")
        if not felt:
            break
    return wrong, found


def disturbance(
    world: World, home: Path, *, way: str, kinds: Sequence[str], seed: int
) -> tuple[dict[str, list[str]], list[Recovery]]:
    """One sweep under one kill of each kind; what is wrong afterwards, and how long each kill was felt."""
    home.mkdir()
    with Disturbed(world, home, seed, way) as sweep:
        try:
            sweep.suffer(deck(kinds, seed=seed))
        except Stuck as error:
            return {"stuck": [str(error)]}, recoveries(sweep)
    faults = all_wrong(sweep, Reference.of(sweep.file, home / "reference"))
    if left := left_behind(world.head):
        faults["nothing_is_left_behind"] = left
    return faults, recoveries(sweep)


def table(found: Sequence[Recovery]) -> None:
    """Kills by kind, and the seconds until progress again, by phase: `missed` and `placed` are waiting, `worked` is work."""
    by_kind: defaultdict[str, list[Recovery]] = defaultdict(list)
    for each in found:
        by_kind[each.kind].append(each)
    say("\nkilled", "times", "went on", "median s", "most s", "missed s", "placed s", "worked s")
    for kind, some in sorted(by_kind.items()):
        seconds = [each.seconds for each in some if each.seconds is not None]
        parts = [(each.missed, each.placed, each.worked) for each in some]
        typical = [_median([part for part in phase if part is not None]) for phase in zip(*parts, strict=True)]
        most = f"{max(seconds):.1f}" if seconds else ""
        say(kind, str(len(some)), str(len(seconds)), _median(seconds), most, *typical)


def _median(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f}" if seconds else ""


def say(what: str, *figures: str) -> None:
    """Print a row."""
    sys.stdout.write(what.ljust(12 if figures else 0) + "".join(figure.rjust(12) for figure in figures) + "\n")
    sys.stdout.flush()


def _told(faults: dict[str, list[str]]) -> str:
    if not faults:
        return "well"
    return "\n" + "\n".join(f"  {name}: {one}" for name, some in faults.items() for one in some)


if __name__ == "__main__":
    sys.exit(main())
