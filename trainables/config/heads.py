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


class DecoupledHead(PixelHead):
    """More blocks of the trunk's width on the noisy patches, modulated token by token (DDT, arXiv 2504.05741)."""

    kind: Literal["decoupled"] = "decoupled"
    blocks: Blocks = 1
    """Beside the `depth` of the trunk (DDT-XL: 6 beside 22)."""


class PixelMlpHead(PixelHead):
    """MLPs over pixels, modulated by a condition of each pixel (DeCo, arXiv 2511.19365)."""

    kind: Literal["pixel_mlp"] = "pixel_mlp"
    width: Width = 16
    """Numbers of a pixel (DeCo-XL: 32)."""
    blocks: Blocks = 2
    """MLPs, one after the other (DeCo-XL: 3)."""


class PixelTransformerHead(PixelHead):
    """Blocks over pixels whose attention goes from patch to patch (PixelDiT, arXiv 2511.20645)."""

    kind: Literal["pixel_transformer"] = "pixel_transformer"
    width: Annotated[Width, Field(multiple_of=4)] = 8
    """Numbers of a pixel (PixelDiT-XL: 16)."""
    blocks: Blocks = 2
    """Attention and MLP each (PixelDiT-XL: 4)."""


class PatchUnetHead(PixelHead):
    """A U-Net on each noisy patch that meets the token at its bottom (DiP, arXiv 2511.18822)."""

    kind: Literal["patch_unet"] = "patch_unet"
    width: Width = 16
    """Channels of its first level, doubled at each further one (DiP-XL: 64)."""


_Heads = LinearHead | NeuralFieldHead | DecoupledHead | PixelMlpHead | PixelTransformerHead | PatchUnetHead
Head = Annotated[_Heads, Field(discriminator="kind")]
HEADS: dict[str, type[Frozen]] = {variant().kind: variant for variant in get_args(get_args(Head)[0])}
"""By their kind."""
