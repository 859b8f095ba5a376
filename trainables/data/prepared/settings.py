"""How images are made of a source: what a prepared set's content depends on besides the source. Free of torch and numpy."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import Frozen, NonNegativeInt, PositiveInt
from trainables.data.holdout import Holdout

Crop = Literal["adm", "centre", "pad", "none"]
"""How an image becomes a square of `image_size`.

`adm`: halve by BOX while the short side is at least twice the size, bring the short side to the size by BICUBIC, cut the
centre out (Dhariwal and Nichol 2021, as JiT and EDM). `centre`: cut the centre square out, resize it by LANCZOS.
`pad`: fit the whole image in by LANCZOS, the rest black. `none`: it must have that size already.
"""
DataFormat = Literal["folder", "zip", "parquet", "tar", "npz", "idx"]
"""The formats of `trainables.data.sources.registry.FORMATS`."""
Channels = Literal["rgb", "grey"]
MOST_SIDE = 8192
"""In pixels: an image of more takes hundreds of MB."""


class SkipBad(Frozen):
    """Leave bad files out, as long as they are few."""

    skip: NonNegativeInt
    """The most that may be left out."""


OnBad = Annotated[Literal["error"] | SkipBad, Field(union_mode="left_to_right")]
"""What a bad file does: `error` ends the preparation, `{skip: N}` leaves up to N of them out."""


class PrepareSettings(Frozen):
    """Everything beside the source that decides a prepared set's images, labels and split."""

    image_size: Annotated[PositiveInt, Field(le=MOST_SIDE)] | None = None
    """Height and width in pixels; None: every image is a square of one size already."""
    crop: Crop = "adm"
    """How an image becomes a square."""
    channels: Channels = "rgb"
    """Colour, or one grey channel (ITU-R 601 luma)."""
    labels: Annotated[str, Field(min_length=1)] = "auto"
    """`auto`: what the source says; `none`: one class; else the name of a column or key."""
    classes: tuple[str, ...] | None = None
    """The classes to take; None: all of them."""
    limit: PositiveInt | None = None
    """Take this many images, spread over the source; None: all of them."""
    on_bad: OnBad = "error"
    """What a file that cannot be decoded does."""
    holdout: Holdout | None = None
    """Images to hold out: a number, a share such as 0.02, or `{split: test}`, which the source keeps apart itself."""
