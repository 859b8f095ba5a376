"""What the sizes of networks of convolutions may be."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from trainables.config.fields import PositiveInt, choices

GROUPS = 32
"""Of channels that norms take together."""
Width = Annotated[PositiveInt, Field(le=65_536)]
GroupedWidth = Annotated[Width, Field(multiple_of=GROUPS)]
Multipliers = Annotated[tuple[Annotated[PositiveInt, Field(le=64)], ...], Field(min_length=1, max_length=12)]
Blocks = Annotated[PositiveInt, Field(le=1_000)]


def check_at_levels(attention: Sequence[int], *, levels: int) -> None:
    """ValueError: attention at a factor by which no level's side is smaller."""
    sides = [2**level for level in range(levels)]
    if odd := [factor for factor in attention if factor not in sides]:
        rule = f"`attention` must name sides of the levels, 1 over {choices(sides)}"
        raise ValueError(f"{rule}, got {', '.join(map(str, odd))}; leave them out")
