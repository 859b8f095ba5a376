"""Sizes that follow from a configuration. Free of torch."""

import math
from typing import NamedTuple

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.masked import MaskedTrunk
from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.config.trunks import EncoderDecoderTrunk, EncoderPretrainerTrunk, UnetSizes, UvitSizes

FP32 = 4
"""Bytes; weights, gradients and averages are always fp32."""
BF16 = 2
"""Bytes."""
TIME_FEATURES = 256
"""Sinusoids of t that the time embedding starts from."""
PIXEL_WAVES = 64
"""Cosines of its place in the patch that a pixel's features begin with."""
UNET_CONDITION = 4
"""Width of time and class over that of the first level, of a U-Net and of a U-ViT."""
LINEAR_HEADS, LINEAR_HEAD = 4, 32
"""Heads of a U-ViT's linear attention, and their width."""
BEFORE_PATCHES = 2
"""Tokens of an encoder that stand before its patches': the whole image's and the time's."""
PIXEL_MLP_RATIO = 4
"""Hidden width over width of the pixel transformer's MLP."""


def image_bytes(trial: TrialConfig) -> int:
    """Bytes of one image in fp32, as the network sees it."""
    return math.prod(trial.shape) * FP32


def activation_bytes(trial: TrialConfig) -> int:
    """Bytes of one number that a matrix product leaves for the backward pass."""
    return BF16 if trial.precision == "bf16" else FP32


def mlp_hidden(model: ModelConfig) -> int:
    """Hidden width of the MLP; SwiGLU's is cut by 2/3 so that its three matrices cost what GELU's two do."""
    hidden = int(model.width * model.mlp_ratio)
    return int(hidden * 2 / 3) if model.mlp == "swiglu" else hidden


def plain_hidden(model: ModelConfig, width: int) -> int:
    """Hidden width of an MLP of two matrices on tokens of this width."""
    return int(width * model.mlp_ratio)


def block_chunks(model: ModelConfig) -> int:
    """Vectors of width D by which adaLN modulates a block: shift, scale and gate of its two halves, or no shifts."""
    return 6 if model.adaln_shift else 4


def modulation_chunks(model: ModelConfig) -> int:
    """Vectors of width D that adaLN yields: those of the blocks, then shift and scale of the final norm where there is one."""
    return block_chunks(model) * model.depth + (0 if model.reads_pixels else 2)


def routed_tokens(trial: TrialConfig) -> int:
    """Tokens of an image that go through the middle blocks in training."""
    routing, tokens = trial.model.routing, trial.grid**2
    return tokens if routing.kind == "none" else max(1, tokens - round(tokens * routing.share))


def attention_weights(trial: TrialConfig) -> int:
    """Numbers in the attention weights of the block that has most of them, of one image."""
    trunk, size = trial.model.trunk, trial.canvas.side
    if isinstance(trunk, AutoencoderTrunk):
        return (size >> min([trunk.halvings, *(factor.bit_length() - 1 for factor in trunk.attention)])) ** 4
    if isinstance(trunk, UvitSizes):
        return trunk.heads * (trial.grid >> trunk.halvings) ** 4
    if isinstance(trunk, MaskedTrunk):
        return int(trunk.decoder(trial.model.encoder).heads * (trial.grid**2 + trunk.class_copies) ** 2)
    if isinstance(trunk, EncoderDecoderTrunk):
        most = max(trial.model.heads, trunk.decoder(trial.model.encoder).heads)
        return int(most * (trial.grid**2 + BEFORE_PATCHES) ** 2)
    if isinstance(trunk, EncoderPretrainerTrunk):
        return trial.model.heads * (trial.grid**2 + BEFORE_PATCHES) ** 2
    if not isinstance(trunk, UnetSizes):
        return trial.model.heads * (trial.grid**2 + trial.model.class_tokens) ** 2
    levels = {trunk.halvings, *(factor.bit_length() - 1 for factor in trunk.attention)}
    heads = {level: trunk.width * trunk.multipliers[level] // trunk.head_channels for level in levels}
    return max(heads[level] * (size >> level) ** 4 for level in levels)


def conv_stem_channels(model: ModelConfig) -> tuple[int, ...]:
    """Output channels of the stem's stride-2 convolutions: doubling up to half the width."""
    halvings = model.patch_size.bit_length() - 1
    return tuple(-(-model.width // 2 ** (halvings - i)) for i in range(halvings))


PIECES = {
    "attention.qkv.weight": 3,
    "attention.proj.weight": 1,
    "mlp.w12.weight": 2,
    "mlp.w3.weight": 1,
    "mlp.first.weight": 1,
    "mlp.second.weight": 1,
}
"""Matrices in a block's parameters, by the end of their names: what Muon updates beside the modulation."""


class UnetLevel(NamedTuple):
    """One level of a U-Net on a patch."""

    side: int
    """Pixels along the patch at this level."""
    before: int
    """Channels that come from above."""
    width: int
    after: int
    """Channels that go back up."""
    pool: int
    """By which the next level is smaller."""


def unet_levels(patch: int, *, width: int, channels: int) -> tuple[UnetLevel, ...]:
    """Levels down to one pixel: halvings, and at last what is odd in the patch's side, at once."""
    levels: list[UnetLevel] = []
    side = patch
    while side > 1:
        pool, own = 2 if side % 2 == 0 else side, width << len(levels)
        before, after = (levels[-1].width, levels[-1].width) if levels else (channels, width)
        levels.append(UnetLevel(side, before, own, after, pool))
        side //= pool
    return tuple(levels)
