"""Sizes that follow from a configuration. Free of torch."""

from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig

FP32 = 4
"""Bytes; weights, gradients and averages are always fp32."""
BF16 = 2
"""Bytes."""
TIME_FEATURES = 256
"""Sinusoids of t that the time embedding starts from."""


def image_bytes(trial: TrialConfig) -> int:
    """Bytes of one image in fp32."""
    return trial.data.channels * trial.data.image_size**2 * FP32


def mlp_hidden(model: ModelConfig) -> int:
    """Hidden width of the MLP; SwiGLU's is cut by 2/3 so that its three matrices cost what GELU's two do."""
    hidden = int(model.width * model.mlp_ratio)
    return int(hidden * 2 / 3) if model.mlp == "swiglu" else hidden


def modulation_chunks(model: ModelConfig) -> int:
    """Vectors of width D that adaLN yields: shift, scale and gate twice a block, shift and scale for the final layer."""
    return 6 * model.depth + 2


def conv_stem_channels(model: ModelConfig) -> tuple[int, ...]:
    """Output channels of the stem's stride-2 convolutions: doubling up to half the width."""
    halvings = model.patch_size.bit_length() - 1
    return tuple(-(-model.width // 2 ** (halvings - i)) for i in range(halvings))
