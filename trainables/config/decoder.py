"""The sizes of a decoder beside an encoder."""

from typing import Annotated, NamedTuple

from pydantic import Field

from trainables.config.convolutions import Blocks, Width
from trainables.config.fields import Frozen, PositiveInt


class HalfSizes(NamedTuple):
    """Of the blocks of an encoder, or of a decoder."""

    width: int
    depth: int
    heads: int


class DecoderSizes(Frozen):
    """Base of the trunks whose decoder may have other sizes than the encoder, which are the model's own."""

    decoder_width: Width | None = None
    """Of the decoder's tokens; none: the encoder's (EPG-XL: 1584 beside 768)."""
    decoder_depth: Blocks | None = None
    """The decoder's blocks; none: as many as the encoder's. In EPG each reads one of the encoder's, of at least as many."""
    decoder_heads: Annotated[PositiveInt, Field(le=1_000)] | None = None
    """Attention heads of the decoder; none: the encoder's."""

    def decoder(self, encoder: HalfSizes) -> HalfSizes:
        """The decoder of an encoder of these sizes."""
        own = (self.decoder_width, self.decoder_depth, self.decoder_heads)
        return HalfSizes(*(mine or theirs for mine, theirs in zip(own, encoder, strict=True)))
