"""`make bench`: every table, or the one that is named."""

import argparse

from tests.bench import engine, trainer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("table", nargs="?", choices=("engine", "trainer"), help="all of them where none is named")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out the compiled steps")
    asked = parser.parse_args()
    if asked.table != "trainer":
        engine.table()
    if asked.table != "engine":
        trainer.table(compiled=asked.compiled)


if __name__ == "__main__":
    main()
