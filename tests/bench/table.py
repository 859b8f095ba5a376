"""One row a figure, with the bar it is held to."""

import sys


def say(what: str, figure: str, bar: str = "") -> None:
    """Print a row."""
    sys.stdout.write(f"{what:75} {figure:>15} {bar:>15}\n")
    sys.stdout.flush()
