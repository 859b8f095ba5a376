"""Where this checkout and its golden files lie."""

from pathlib import Path

TOP = Path(__file__).parents[2]
GOLDEN = TOP / "tests" / "golden"
