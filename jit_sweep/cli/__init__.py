"""The command line `jit-sweep`."""

import sys

__all__ = ["main"]

INTERRUPTED = 130
"""`ExitCode.INTERRUPTED`, which may not be imported yet."""


def main() -> int:
    """Run the command line; returns an exit code. An interrupt is answered while the commands are still being imported, too."""
    try:
        from jit_sweep.cli.app import main as commands

        return commands()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
