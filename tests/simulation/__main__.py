"""`python -m tests.simulation`: play seed after seed, in every kind of story, and name what breaks something."""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

from tests.simulation.seeds import cut_off, disturbed, hung, interleaved, overtaken, shown, undisturbed, walked

WALKS = 4
"""On the model with each seed: they are short."""
RARELY = 4
"""Of so many seeds one is played on PostgreSQL and in MLflow too, which take longer."""


def told(seed: int) -> Iterator[tuple[Callable[[int], object], int]]:
    """The stories of a seed, each with the seed that it has itself."""
    yield from ((walked, seed * WALKS + walk) for walk in range(WALKS))
    if seed % RARELY == 0:
        yield interleaved, seed
        yield hung, seed
        yield overtaken, seed
    yield undisturbed, seed
    yield (disturbed if seed % 2 else cut_off), seed
    if seed % RARELY == 0:
        yield shown, seed


def main() -> int:
    """How many seeds were played, and which of them broke what; 1 where one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to go on, in seconds of a core")
    parser.add_argument("--stop", action="store_true", help="end with the first seed that breaks something")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, broken = time.process_time(), 0
    for seed in count(given.first):
        for story, own in told(seed):
            try:
                story(own)
            except Exception as error:  # noqa: BLE001 - whatever it is, its seed is named and the next is played
                broken += 1
                said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
                print(f"seed {own}, {story.__name__}: {said}", flush=True)  # noqa: T201
                if given.stop:
                    return 1
        if time.process_time() - began > given.seconds:
            break
    played, seconds = seed - given.first + 1, time.process_time() - began
    print(f"{played} seeds in {seconds:.0f} s of a core, {played / seconds * 60:.0f} a minute; {broken} broke something")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
