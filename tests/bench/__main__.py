"""`make bench`: every table, or the one that is named."""

import argparse
from collections.abc import Callable

from tests.bench import data, engine, ledger, report, scores, trainer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "table",
        nargs="?",
        choices=("data", "engine", "ledger", "report", "scores", "trainer"),
        help="all of them where none is named",
    )
    parser.add_argument(
        "--no-compile",
        dest="compiled",
        action="store_false",
        help="leave out our compiled steps, which take minutes to compile",
    )
    parser.add_argument("--patches", nargs="*", type=int, default=[*trainer.BATCH_OF_PATCH], help="the trainer's patch sizes")
    asked = parser.parse_args()
    tables: dict[str, Callable[[], None]] = {
        "data": data.table,
        "engine": engine.table,
        "ledger": ledger.table,
        "report": report.table,
        "scores": scores.table,
        "trainer": lambda: trainer.table(asked.patches, compiled=asked.compiled),
    }
    for name in [asked.table] if asked.table else tables:
        tables[name]()


if __name__ == "__main__":
    main()
