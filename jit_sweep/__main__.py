"""`python -m jit_sweep`: the command line."""

import sys

from jit_sweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
