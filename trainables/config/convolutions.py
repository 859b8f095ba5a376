"""What the sizes of networks of convolutions may be."""

from typing import Annotated

from pydantic import Field

from trainables.config.fields import PositiveInt

GROUPS = 32
"""Of channels that norms take together."""
Width = Annotated[PositiveInt, Field(le=65_536)]
GroupedWidth = Annotated[Width, Field(multiple_of=GROUPS)]
Multipliers = Annotated[tuple[Annotated[PositiveInt, Field(le=64)], ...], Field(min_length=1, max_length=12)]
Blocks = Annotated[PositiveInt, Field(le=1_000)]
