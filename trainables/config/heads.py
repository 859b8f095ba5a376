"""The heads of a network: what makes an image of its tokens."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from trainables.config.fields import Frozen, PositiveInt

Width = Annotated[PositiveInt, Field(le=65_536)]
Blocks = Annotated[PositiveInt, Field(le=1_000)]


class LinearHead(Frozen):
    """One linear map from a token to a patch, with bias, zero at first (DiT, JiT)."""

    kind: Literal["linear"] = "linear"


class PixelHead(Frozen):
    """Base of the heads that read the noisy image again, each patch under the condition silu(time + token)."""


class NeuralFieldHead(PixelHead):
    """Each token makes the weights of a small MLP, which maps every pixel of its patch (PixNerd, arXiv 2507.23268)."""

    kind: Literal["neural_field"] = "neural_field"
    width: Width = 16
    """Numbers of a pixel (PixNerd-XL: 64)."""
    blocks: Blocks = 2
    """MLPs, one after the other (PixNerd-XL: 4)."""
    ratio: Annotated[PositiveInt, Field(le=64)] = 2
    """Hidden width of an MLP over `width`."""


Head = Annotated[LinearHead | NeuralFieldHead, Field(discriminator="kind")]
HEADS: dict[str, type[Frozen]] = {variant().kind: variant for variant in get_args(get_args(Head)[0])}
"""By their kind."""
