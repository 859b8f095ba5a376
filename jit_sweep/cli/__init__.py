"""The command line `jit-sweep`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["main"]

INTERRUPTED = "interrupted"
"""What an interrupt is answered with; `run` and `submit` say themselves how their sweep goes on."""


@contextmanager
def unmasked() -> Iterator[None]:
    """Raises an interrupt as such where Python 3.11 tells it as a RuntimeError of the class that it kept from being made."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise


def main() -> int:
    """Run the command line; returns an exit code. An interrupt is answered while the commands are still being imported, too."""
    try:
        with unmasked():
            from jit_sweep.cli.app import main as commands

            return commands()
    except KeyboardInterrupt:
        sys.stderr.write(f"{INTERRUPTED}\n")
        from trainables.report import ExitCode  # here, since it may not be imported yet

        return ExitCode.INTERRUPTED
