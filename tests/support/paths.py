"""Where this checkout and its golden files lie."""

from pathlib import Path

TOP = Path(__file__).parents[2]
GOLDEN = TOP / "tests" / "golden"
FEW_IMAGES = str(GOLDEN / "few_emoji.npz")
"""Data small enough that scoring by it takes no time: 90 of the packaged images."""
FEW_HELD_OUT = 18
"""Of them; the file has no list of its own."""
