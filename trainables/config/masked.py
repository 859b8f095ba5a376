"""The network that finds masked tokens from the others, and draws each by a small diffusion of its own (MAR)."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.convolutions import Blocks, Width
from trainables.config.decoder import DecoderSizes
from trainables.config.fields import Fraction, PositiveInt


class MaskedTrunk(DecoderSizes):
    """An encoder of the tokens that are not masked, a decoder of all, and a head that draws a token by diffusion (MAR, arXiv
    2406.11838). Of the settings beside this one it reads `patch_size`, `mlp_ratio`, and `width`, `depth` and `heads` as the
    encoder's; it is trained by `method` masked_tokens alone."""

    kind: Literal["masked_autoencoder"] = "masked_autoencoder"
    class_copies: Annotated[PositiveInt, Field(le=65_536)] = 64
    """Tokens of the class before those of the image."""
    head_width: Width = 1024
    """Width of the head's MLPs (MAR-B, L and H: 1024, 1280 and 1536)."""
    head_blocks: Blocks = 6
    """MLPs of the head (MAR-B, L and H: 6, 8 and 12)."""
    dropout: Fraction = 0.0
    """Dropout of attention weights, of its output and of the MLP's values in every block (MAR: 0.1). Its masks are drawn by the
    micro-batch, as those of `attn_dropout` are."""
