"""The command line `jit-sweep`."""

import sys

__all__ = ["main"]

INTERRUPTED = "interrupted"
"""What an interrupt is answered with; `run` and `submit` say themselves how their sweep goes on."""


def main() -> int:
    """Run the command line; returns an exit code. An interrupt is answered while the commands are still being imported, too."""
    try:
        from jit_sweep.cli.app import main as commands

        return commands()
    except KeyboardInterrupt:
        sys.stderr.write(f"{INTERRUPTED}\n")
        from trainables.report import ExitCode  # here, since it may not be imported yet

        return ExitCode.INTERRUPTED
