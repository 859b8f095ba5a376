"""The command line `jit-sweep`."""

from jit_sweep.cli.app import main

__all__ = ["main"]
