"""`python -m tests.simulation`: play seed after seed, and name those that break an invariant."""

import argparse
import logging
import sys
import time
from itertools import count

from tests.simulation.judge import check_verdicts
from tests.simulation.play import memory
from tests.simulation.seeds import check, rough


def main() -> int:
    """How many seeds were played, and which of them broke what; 1 where one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to go on")
    parser.add_argument("--stop", action="store_true", help="end with the first seed that breaks something")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, broken = time.monotonic(), 0
    for seed in count(given.first):
        try:
            with memory() as ledger:
                story = rough(seed, ledger=ledger)
            check(story)
            check_verdicts(story.events, story.plan.spec.scheduler)
        except Exception as error:  # noqa: BLE001 - whatever it is, its seed is named and the next is played
            broken += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:400]}", flush=True)  # noqa: T201
        if time.monotonic() - began > given.seconds or (broken and given.stop):
            break
    played, seconds = seed - given.first + 1, time.monotonic() - began
    print(f"{played} sweeps in {seconds:.0f} s, {played / seconds * 60:.0f} a minute; {broken} broke something")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
