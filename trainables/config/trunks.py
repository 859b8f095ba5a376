"""The trunks of a network: what lies between the noisy image and the output."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.convolutions import Blocks, GroupedWidth, Multipliers, Width, check_at_levels
from trainables.config.decoder import DecoderSizes
from trainables.config.fields import Fraction, Frozen, PositiveInt, Ruled, choices, must_hold
from trainables.config.masked import MaskedTrunk


class TransformerTrunk(Frozen):
    """Blocks over patches, by the settings beside this one (JiT, DiT)."""

    kind: Literal["transformer"] = "transformer"


class PointTrunk(Frozen):
    """`depth` linear maps with ReLU on an image that is one patch (the toy); beside this they read width, depth, the
    embedding and `time_period` alone."""

    kind: Literal["mlp"] = "mlp"


class UnetSizes(Ruled):
    """Base of ADM's networks of convolutions over pixels, at sides that halve, with attention at some; of the settings beside
    this one they read `time_period` alone."""

    width: GroupedWidth = 64
    """Channels of the first level (ADM at 256 px: 256, of its classifier 128)."""
    multipliers: Multipliers = (1, 2, 2)
    """Channels of each level over `width`; each level has half the side of the one before."""
    blocks: Blocks = 2
    """Residual blocks of a level on the way down; on the way up there is one more."""
    attention: tuple[PositiveInt, ...] = (2, 4)
    """Factors by which a side is smaller where attention follows each block (ADM at 256 px: 8, 16 and 32)."""
    head_channels: Width = 32
    """Channels of an attention head (ADM: 64)."""
    resample: Literal["blocks", "convolutions"] = "blocks"
    """What halves and doubles a side: residual blocks that average or repeat pixels within (ADM), or single convolutions."""
    scale_shift: bool = True
    """Whether time and class scale and shift after a block's second norm, or are added before it."""
    attention_order: Literal["parts", "heads"] = "parts"
    """Of q, k and v in the rows of their one matrix: all of q, then k, then v; or head by head, as ADM's legacy files have it.
    It is a permutation of weights that have equal shapes."""
    dropout: Fraction = 0.0
    """Dropout before a block's second convolution (ADM at 64 px: 0.1)."""

    @must_hold
    def attention_is_at_levels(self) -> None:
        check_at_levels(self.attention, levels=len(self.multipliers))

    @must_hold
    def head_channels_divide(self) -> None:
        widths = {self.width * self.multipliers[-1]}  # the middle attends, whatever its side
        widths |= {self.width * each for level, each in enumerate(self.multipliers) if 2**level in self.attention}
        if odd := sorted(width for width in widths if width % self.head_channels):
            rule = "`head_channels` must divide the channels of each level with attention"
            raise ValueError(f"{rule}, got head_channels={self.head_channels}, channels={choices(odd)}")

    @property
    def halvings(self) -> int:
        """How often a side is halved on the way down."""
        return len(self.multipliers) - 1


class UnetTrunk(UnetSizes):
    """Down, and back up beside what came down, to an image (ADM, arXiv 2105.05233)."""

    kind: Literal["unet"] = "unet"


class UnetClassifierTrunk(UnetSizes):
    """A U-Net's way down, from whose end comes what each class's probability is (ADM's classifier, arXiv 2105.05233)."""

    kind: Literal["unet_classifier"] = "unet_classifier"
    pool: Literal["attention", "adaptive"] = "attention"
    """How the places of the end become one: by attention of their mean to all (ADM), or as their mean."""


class UvitSizes(Ruled):
    """Base of the trunks with convolutions at sides that halve and a transformer at the bottom; of the settings beside this one
    they read none."""

    width: Width = 64
    """Channels of the first level."""
    multipliers: Multipliers = (1, 2)
    """Channels below each halving over `width`; the last are the transformer's."""
    depth: Blocks = 4
    """Blocks of the transformer at the bottom."""
    heads: Annotated[PositiveInt, Field(le=1_000)] = 4
    """Its attention heads."""
    head_channels: Width = 32
    """Channels of one of them."""
    mlp_ratio: Annotated[PositiveInt, Field(le=64)] = 4
    """Hidden width over width of its MLPs."""
    patch: Annotated[PositiveInt, Field(le=4_096)] = 1
    """Side of a patch that is a pixel to the first level; 1: a 7 x 7 convolution reads the pixels themselves."""
    time_features: Annotated[PositiveInt, Field(le=4_096, multiple_of=2)] = 16
    """Sinusoids of t, of learned frequencies, that the time starts from."""
    dropout: Fraction = 0.0
    """Dropout of the transformer's attention weights and hidden values."""

    @property
    def halvings(self) -> int:
        """How often a side is halved on the way down."""
        return len(self.multipliers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level from the top down, and of the transformer."""
        return (self.width, *(self.width * each for each in self.multipliers))


class UvitTrunk(UvitSizes):
    """Convolutions and linear attention down to a transformer, and back up beside what came down (simple diffusion, arXiv
    2301.11093)."""

    kind: Literal["uvit"] = "uvit"


class ResidualUvitTrunk(UvitSizes):
    """The same with one skip a level: what the levels below have changed is added to what went down to them (SiD2, arXiv
    2410.19324)."""

    kind: Literal["residual_uvit"] = "residual_uvit"


class EncoderDecoderTrunk(DecoderSizes):
    """A plain vision transformer, and a decoder that reads each of its blocks again (EPG, arXiv 2510.12586). Of the settings
    beside this one the encoder reads the patch size, width, depth, heads, `mlp_ratio` and `time_period`."""

    kind: Literal["encoder_decoder"] = "encoder_decoder"


class EncoderPretrainerTrunk(Frozen):
    """The encoder of `encoder_decoder` alone, with the MLP that its class token is projected by (EPG's first stage, arXiv
    2510.12586). Of the settings beside this one it reads the same."""

    kind: Literal["encoder_pretrainer"] = "encoder_pretrainer"
    projector_width: Width = 4096
    """Hidden width of the projection's three maps."""
    projected_width: Width = 256
    """Numbers that a class token is projected to."""


def _by_its_name(given: Any) -> Any:
    """A trunk's name alone, which is all there was to say of the first ones, stands for it with its defaults."""
    return {"kind": given} if isinstance(given, str) else given


_Patches = TransformerTrunk | PointTrunk | MaskedTrunk | EncoderDecoderTrunk | EncoderPretrainerTrunk
_OfPixels = AutoencoderTrunk | UnetTrunk | UnetClassifierTrunk | UvitTrunk | ResidualUvitTrunk
_Trunks = _Patches | _OfPixels
Trunk = Annotated[_Trunks, Field(discriminator="kind"), BeforeValidator(_by_its_name)]
TRUNKS: dict[str, type[Frozen]] = {variant().kind: variant for variant in get_args(get_args(Trunk)[0])}
"""By their kind."""
_ENCODER = frozenset({"patch_size", "width", "depth", "heads", "mlp_ratio", "time_period", "trunk"})
READS: dict[str, frozenset[str]] = {
    "mlp": frozenset({"patch_size", "width", "depth", "embedding", "trunk", "time_period"}),
    "autoencoder": frozenset({"trunk"}),
    "masked_autoencoder": frozenset({"patch_size", "width", "depth", "heads", "mlp_ratio", "trunk"}),
    "unet": frozenset({"trunk", "time_period"}),
    "unet_classifier": frozenset({"trunk", "time_period"}),
    "uvit": frozenset({"trunk"}),
    "residual_uvit": frozenset({"trunk"}),
    "encoder_decoder": _ENCODER,
    "encoder_pretrainer": _ENCODER,
}
"""Settings of a model that a trunk has a use for, by its kind; the transformer has one for all."""
OF_PIXELS = (AutoencoderTrunk, UnetSizes, UvitSizes)
"""Trunks that see pixels themselves, without the embedding of patches and the head."""


def is_read(setting: str, *, trunk: str) -> bool:
    """Whether a trunk of this kind has a use for a setting of its model."""
    return trunk not in READS or setting in READS[trunk]
