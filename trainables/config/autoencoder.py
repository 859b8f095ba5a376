"""The network that makes a small code of an image, and of the code the image again."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.convolutions import Blocks, GroupedWidth, Multipliers, Width, check_at_levels
from trainables.config.fields import Frozen, NonNegativeFloat, PositiveFloat, PositiveInt, Ruled, must_hold


class KlCode(Frozen):
    """A Gaussian for each number of the code, drawn from in training; outside it the code is its mean (VAE)."""

    kind: Literal["kl"] = "kl"
    weight: Annotated[NonNegativeFloat, Field(le=1000)] = 1e-6
    """Of the divergence from N(0, 1), summed over the code and divided by the image's numbers (latent diffusion: 1e-6)."""


class VqCode(Frozen):
    """At each place of the code the nearest of some learned vectors (VQ-VAE, arXiv 1711.00937). What diffuses on such a code
    sees it before the vectors are chosen."""

    kind: Literal["vq"] = "vq"
    entries: Annotated[PositiveInt, Field(ge=2, le=2**20)] = 256
    """How many vectors (VQGAN: 1,024 and 16,384)."""
    commitment: Annotated[PositiveFloat, Field(ge=1e-6, le=1000)] = 0.25
    """Weight of the code's distance to its vector, beside that of the vector to its code."""


Code = Annotated[KlCode | VqCode, Field(discriminator="kind")]


class AutoencoderTrunk(Ruled):
    """Convolutions over pixels down to the code and back up (latent diffusion, arXiv 2112.10752). Of the settings beside this
    one it reads none; it is trained by `method` autoencoder alone."""

    kind: Literal["autoencoder"] = "autoencoder"
    width: GroupedWidth = 32
    """Channels of the first level (latent diffusion: 128)."""
    multipliers: Multipliers = (1, 2, 2)
    """Channels of each level over `width`; each level has half the side of the one before, and the last is the code's."""
    blocks: Blocks = 1
    """Residual blocks of a level on the way down; on the way up there is one more."""
    attention: tuple[PositiveInt, ...] = ()
    """Factors by which a side is smaller where attention follows each block; the middle always attends."""
    code_channels: Width = 4
    """Numbers of the code at each place."""
    code: Code = KlCode()
    """What keeps the code small."""

    @must_hold
    def attention_is_at_levels(self) -> None:
        check_at_levels(self.attention, levels=len(self.multipliers))

    @property
    def halvings(self) -> int:
        """How often a side is halved on the way to the code."""
        return len(self.multipliers) - 1

    @property
    def head_channels(self) -> int:
        """Of the middle's attention, which has one head."""
        return self.width * self.multipliers[-1]

    @property
    def dropout(self) -> float:
        """It has none."""
        return 0.0
