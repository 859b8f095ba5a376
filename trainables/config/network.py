"""The network of a trial: its sizes and components."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from trainables.config.decoder import DecoderSizes, HalfSizes
from trainables.config.fields import (
    JOINED_LATER,
    Fraction,
    Frozen,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Ruled,
    must_hold,
    without,
)
from trainables.config.heads import Head, LinearHead, PixelHead
from trainables.config.masked import MaskedTrunk
from trainables.config.trunks import OF_PIXELS, TransformerTrunk, Trunk, UvitSizes, is_read


class LinearEmbedding(Frozen):
    """One linear map from a patch to a token, with bias (ViT, DiT)."""

    kind: Literal["linear"] = "linear"


class BottleneckEmbedding(Frozen):
    """Two linear maps, patch -> dim -> width, with no activation between (JiT, section 3)."""

    kind: Literal["bottleneck"] = "bottleneck"
    dim: Annotated[PositiveInt, Field(le=65_536)] = 128
    """Numbers between the two maps."""


class ConvStemEmbedding(Frozen):
    """Stride-2 3x3 convolutions with SiLU down to one token a patch (arXiv 2106.14881); the patch is a power of two."""

    kind: Literal["conv_stem"] = "conv_stem"


Embedding = Annotated[LinearEmbedding | BottleneckEmbedding | ConvStemEmbedding, Field(discriminator="kind")]


class NoRouting(Frozen):
    """Every token goes through every block."""

    kind: Literal["none"] = "none"


class SkipRouting(Frozen):
    """In training some tokens of each image skip the middle blocks and come back after them (TREAD, arXiv 2501.04765).

    Which ones is drawn by the image's number; samples and held-out errors use every token.
    """

    kind: Literal["skip"] = "skip"
    share: Annotated[Fraction, Field(gt=0)] = 0.5
    """Of an image's tokens, the part that skips; at least one token stays."""
    ends: PositiveInt = 1
    """Blocks at the beginning, and at the end, that see every token."""


Routing = Annotated[NoRouting | SkipRouting, Field(discriminator="kind")]


def both_dropouts(given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings with `dropout`, which stands for `attn_dropout` and `proj_dropout` alike, written out as the two.

    ValueError: one of the two stands beside it.
    """
    tree = dict(given)
    if "dropout" in tree:
        if beside := {"attn_dropout", "proj_dropout"} & tree.keys():
            rule = "`dropout` stands for attn_dropout and proj_dropout alike, and not beside one of them"
            raise ValueError(f"{rule}, got {', '.join(sorted(beside))} too; write the two")
        tree["attn_dropout"] = tree["proj_dropout"] = tree.pop("dropout")
    return tree


def _with_dropout(schema: dict[str, Any]) -> None:
    """The short form is a key of what is written, and of no configuration."""
    one = schema["properties"]["attn_dropout"]
    schema["properties"]["dropout"] = {**one, "description": "`attn_dropout` and `proj_dropout` at once."}


class ModelConfig(Ruled):
    """A plain transformer over patches whose components are configuration; the defaults are JiT's."""

    patch_size: PositiveInt
    """Side of a square patch, in pixels."""
    width: Annotated[PositiveInt, Field(le=65_536)]
    """Token width D."""
    depth: Annotated[PositiveInt, Field(le=1_000)]
    """Number of blocks."""
    heads: PositiveInt
    """Attention heads; they must divide the width."""
    embedding: Embedding = BottleneckEmbedding()
    """From a patch to a token."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm with a learned weight (JiT) or LayerNorm without one (DiT)."""
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    """SwiGLU (JiT) or GELU (DiT)."""
    mlp_ratio: Annotated[PositiveFloat, Field(ge=0.01, le=100)] = 4.0
    """Hidden width over D, before SwiGLU's factor 2/3."""
    rope: bool = True
    """Axial 2-D rotary positions on q and k."""
    qk_norm: bool = True
    """RMSNorm on q and k."""
    position: Literal["sincos", "none"] = "sincos"
    """A fixed 2-D sine-cosine table added once to the tokens."""
    class_tokens: Annotated[NonNegativeInt, Field(le=65_536)] = 32
    """In-context copies of the class embedding put before the image tokens; 0 is none."""
    class_tokens_start: NonNegativeInt = 4
    """The block before which the class tokens are prepended."""
    attn_dropout: Fraction = 0.0
    """Dropout of attention weights, in the middle half of the blocks. Dropout's masks are drawn by the micro-batch: another
    number of workers or micro-batch drops other values."""
    proj_dropout: Fraction = 0.0
    """Dropout of attention's output and of the MLP's hidden values, in the middle half of the blocks (JiT-H and G: 0.2)."""
    routing: Annotated[Routing, JOINED_LATER] = NoRouting()
    """Whether tokens skip blocks in training."""
    output_skip: Literal["none", "edm", "linear"] = "none"
    """Pre-conditioner around the network: JiT's appendix, table 10."""
    head: Annotated[Head, JOINED_LATER] = LinearHead()
    """From the tokens to the image."""
    bias: Annotated[bool, JOINED_LATER] = True
    """Biases of q, k and v and of the MLP; PixNerd, DDT, DeCo, DiP and PixelDiT have none there."""
    qk_norm_kind: Annotated[Literal["rms", "layer", "joint"], JOINED_LATER] = "rms"
    """What `qk_norm` is: RMSNorm, or LayerNorm with weight and bias (LightningDiT), of each head; or RMSNorm over all heads
    jointly (PixelFlow)."""
    rope_kind: Annotated[Literal["axial", "column_first", "alternating"], JOINED_LATER] = "axial"
    """Where `rope` turns: half of a head by the row and half by the column, in patches (JiT); the column's half first
    (PixelFlow); or its pairs by column and row in turn, at positions 0 to 16 on every grid (PixNerd)."""
    time_period: Annotated[PositiveFloat, Field(gt=1, le=1e9), JOINED_LATER] = 10_000.0
    """Longest period of the sinusoids of t over 2 pi; 10 in PixNerd's family."""
    time_kind: Annotated[Literal["raw", "clock"], JOINED_LATER] = "raw"
    """t as it is, whose sinusoids end before `time_period` (JiT); or 1000 t, with one of just that period (PixelFlow)."""
    adaln_start: Annotated[Literal["zero", "torch"], JOINED_LATER] = "zero"
    """The modulation at first: zero, so that every gate is closed (adaLN-Zero), or torch's default of a linear map."""
    adaln_shift: Annotated[bool, JOINED_LATER] = True
    """Whether the modulation of a block shifts; LightningDiT's `wo_shift` is false."""
    block_start: Annotated[Literal["xavier", "torch"], JOINED_LATER] = "xavier"
    """The blocks at first: Xavier's uniform matrices and no biases (JiT, DiT), or torch's default of a linear map."""
    trunk: Annotated[Trunk, JOINED_LATER] = TransformerTrunk()
    """What computes between the noisy image and the output."""
    final_norm: Annotated[Literal["rms", "layer"] | None, JOINED_LATER] = None
    """The norm before the linear head; none: as `norm`. A head that reads pixels has none."""
    mlp_norm: Annotated[Literal["rms", "layer"] | None, JOINED_LATER] = None
    """The norm before a block's MLP; none: as `norm` (PixelFlow: rms, beside norm=layer)."""
    size_embedding: Annotated[bool, JOINED_LATER] = False
    """Whether the network is told how many tokens lie along a side of the image that it sees (PixelFlow)."""
    normalise_input: Annotated[bool, JOINED_LATER] = False
    """Whether the network sees each noisy image divided by its own standard deviation. Chen (arXiv 2301.10972) scales images by
    b, too: that is a `noise_scale` of 1 / b here."""

    model_config = ConfigDict(json_schema_extra=_with_dropout)

    @model_validator(mode="before")
    @classmethod
    def dropout_is_both(cls, given: Any) -> Any:
        return both_dropouts(given) if isinstance(given, dict) else given

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Two equal dropouts as the one setting that they were; without kinds of what is not there."""
        if self.trunk.kind != "transformer":
            content = {name: value for name, value in content.items() if is_read(name, trunk=self.trunk.kind)}
            return {**content, "trunk": "mlp"} if self.trunk.kind == "mlp" else content
        read = {"rope_kind": self.rope, "qk_norm_kind": self.qk_norm, "final_norm": not self.reads_pixels}
        content = without(content, {name for name, is_read in read.items() if not is_read})
        if self.attn_dropout != self.proj_dropout:
            return content
        return {**without(content, {"attn_dropout", "proj_dropout"}), "dropout": self.proj_dropout}

    @property
    def reads_pixels(self) -> bool:
        """Whether the head sees the noisy image, and no final norm stands before it."""
        return isinstance(self.head, PixelHead)

    @property
    def drops(self) -> bool:
        """Whether anything is dropped in training."""
        if isinstance(self.trunk, (*OF_PIXELS, MaskedTrunk)):
            return self.trunk.dropout > 0
        return bool(self.attn_dropout or self.proj_dropout)

    @property
    def sees_patches(self) -> bool:
        """Whether the trunk computes with patches, rather than with pixels."""
        return not isinstance(self.trunk, OF_PIXELS)

    @property
    def encoder(self) -> HalfSizes:
        """The blocks that these settings say; where there is a decoder beside them, the encoder's."""
        return HalfSizes(self.width, self.depth, self.heads)

    @property
    def attention_head(self) -> int:
        """Width of one head of attention, of the widest."""
        if isinstance(self.trunk, OF_PIXELS):
            return self.trunk.head_channels
        halves = (self.encoder, self.trunk.decoder(self.encoder)) if isinstance(self.trunk, DecoderSizes) else (self.encoder,)
        return max(half.width // half.heads for half in halves)

    @property
    def attention_dropout(self) -> float:
        """Of attention weights."""
        if isinstance(self.trunk, (UvitSizes, MaskedTrunk)):
            return self.trunk.dropout
        return self.attn_dropout if self.sees_patches else 0.0

    @property
    def patch(self) -> int:
        """Side of what the trunk sees as one token or pixel, in the image's pixels."""
        if isinstance(self.trunk, UvitSizes):
            return self.trunk.patch
        return self.patch_size if self.sees_patches else 1

    @must_hold
    def heads_divide_width(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"`heads` must divide width, got heads={self.heads}, width={self.width}")

    @must_hold
    def the_decoders_heads_divide_its_width(self) -> None:
        if isinstance(self.trunk, MaskedTrunk) and (decoder := self.trunk.decoder(self.encoder)).width % decoder.heads:
            rule = "`decoder_heads` must divide decoder_width"
            raise ValueError(f"{rule}, got decoder_heads={decoder.heads}, decoder_width={decoder.width}")

    @must_hold
    def positions_need_quarters(self) -> None:
        if self.position == "sincos" and self.width % 4:
            raise ValueError(f"`width` must be a multiple of 4 for sine-cosine positions, got width={self.width}")
        if self.rope and not self.width % self.heads and (self.width // self.heads) % 4:
            rule = "`width / heads` must be a multiple of 4 for 2-D rotary positions"
            raise ValueError(f"{rule}, got width={self.width}, heads={self.heads}")

    @must_hold
    def class_tokens_start_inside(self) -> None:
        if self.class_tokens and self.class_tokens_start >= self.depth:
            rule = "`class_tokens_start` must be below depth"
            raise ValueError(f"{rule}, got class_tokens_start={self.class_tokens_start}, depth={self.depth}")

    @must_hold
    def routing_has_a_middle_with_the_class_tokens(self) -> None:
        routing, start = self.routing, self.class_tokens_start if self.class_tokens else 0
        if isinstance(routing, SkipRouting) and (self.depth <= 2 * routing.ends or start > routing.ends):
            rule = "`routing` needs blocks between its two ends, and class tokens from the first of them on"
            got = f"depth={self.depth}, ends={routing.ends}, class_tokens_start={start}"
            raise ValueError(f"{rule}, got {got}; try another `ends`")

    @must_hold
    def dropout_needs_a_middle(self) -> None:
        if (self.attn_dropout or self.proj_dropout) and self.depth < 4:
            rule = "dropout acts in the middle half of at least 4 blocks"
            got = f"attn_dropout={self.attn_dropout}, proj_dropout={self.proj_dropout}, depth={self.depth}"
            raise ValueError(f"{rule}, got {got}; try 0.0")

    @must_hold
    def other_trunks_are_plain(self) -> None:
        plain: dict[str, Any] = {"head": "linear", "routing": "none", "output_skip": "none"}
        values: dict[str, Any] = {"head": self.head.kind, "routing": self.routing.kind, "output_skip": self.output_skip}
        values |= {"normalise_input": self.normalise_input, "size_embedding": self.size_embedding}
        dropped, words = self.attn_dropout or self.proj_dropout, "a linear head, and no routing, output skip"
        values |= {"class_tokens": self.class_tokens} if self.trunk.kind == "mlp" else {}
        values |= {"drops": bool(dropped)} if self.trunk.kind in ("mlp", "encoder_decoder") else {}
        odd = [name for name, value in values.items() if value != plain.get(name, 0)]
        if self.trunk.kind != "transformer" and odd:
            more = {"mlp": ", class tokens, dropout", "encoder_decoder": ", dropout"}.get(self.trunk.kind, "")
            rule = f"`trunk` {self.trunk.kind} has {words}{more}, normalised input or size embedding"
            raise ValueError(f"{rule}, got {', '.join(f'{name}={values[name]}' for name in odd)}; leave them out")

    @must_hold
    def conv_stem_halves(self) -> None:
        if self.embedding.kind == "conv_stem" and (self.patch_size & (self.patch_size - 1) or self.patch_size < 2):
            rule = "`patch_size` must be a power of two, at least 2, for the conv stem"
            raise ValueError(f"{rule}, got patch_size={self.patch_size}")
