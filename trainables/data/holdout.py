"""How many images, or which, are held out of training. Free of torch and numpy."""

from contextlib import suppress
from typing import Annotated

from pydantic import Field

from trainables.config.fields import Frozen, PositiveInt

Share = Annotated[float, Field(gt=0, lt=1)]


class NamedSplit(Frozen):
    """The images that the source itself keeps apart."""

    split: Annotated[str, Field(min_length=1)]
    """The split's name in the source, such as `test`; its other images are trained on."""


Holdout = Annotated[PositiveInt | Share | NamedSplit, Field(union_mode="left_to_right")]
"""A number of images, a share of them (rounded to a whole number), or a split of the source's own."""


def holdout_of(text: str) -> int | float | NamedSplit:
    """What a command line says: `500`, `0.02`, or the name of a split."""
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return NamedSplit(split=text)


def count_of(holdout: int | float, images: int) -> int:
    """The number of images to hold out of so many."""
    return holdout if isinstance(holdout, int) else round(holdout * images)
