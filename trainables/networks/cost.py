"""What a configuration costs, in closed form and without torch: parameters and multiply-adds of one image's forward pass."""

from itertools import pairwise

from trainables.config.network import BottleneckEmbedding, ConvStemEmbedding, LinearEmbedding, ModelConfig
from trainables.config.trial import TrialConfig

TIME_FEATURES = 256
"""Sinusoids of t that the time embedding starts from."""


def parameter_count(trial: TrialConfig) -> int:
    """Trainable numbers of the network; the fixed position tables do not count."""
    model, d = trial.model, trial.model.width
    time = TIME_FEATURES * d + d + d * d + d
    label = (trial.data.num_classes + 1) * d
    modulation = (d * d + d) * modulation_chunks(model)
    norm = d if model.norm == "rms" else 0
    head = d * trial.token_dim + trial.token_dim
    blocks = model.depth * (_block_parameters(model) + 2 * norm)
    return _embedding_parameters(trial) + time + label + model.class_tokens * d + modulation + blocks + norm + head


def forward_macs(trial: TrialConfig) -> int:
    """Multiply-adds of matrix products and convolutions in one image's forward pass."""
    model, d = trial.model, trial.model.width
    tokens = trial.grid**2
    conditions = TIME_FEATURES * d + d * d + d * d * modulation_chunks(model)
    before = model.class_tokens_start if model.class_tokens else model.depth
    blocks = before * _block_macs(model, tokens) + (model.depth - before) * _block_macs(model, tokens + model.class_tokens)
    return _embedding_macs(trial) + conditions + blocks + tokens * d * trial.token_dim


def forward_flops(trial: TrialConfig) -> int:
    """Floating-point operations of one image's forward pass: twice the multiply-adds."""
    return 2 * forward_macs(trial)


def training_flops(trial: TrialConfig, *, images: int) -> int:
    """Floating-point operations of training on `images`: a forward pass, and a backward pass of twice its cost but for the
    gradients of the images and of the sinusoids of t, which nobody needs."""
    return (3 * forward_flops(trial) - 2 * _input_gradient_macs(trial)) * images


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


def _block_parameters(model: ModelConfig) -> int:
    d, hidden = model.width, mlp_hidden(model)
    attention = 4 * (d * d + d) + (2 * (d // model.heads) if model.qk_norm else 0)
    wide = 2 * hidden if model.mlp == "swiglu" else hidden
    return attention + d * wide + wide + hidden * d + d


def _block_macs(model: ModelConfig, tokens: int) -> int:
    d, hidden = model.width, mlp_hidden(model)
    matrices = 3 if model.mlp == "swiglu" else 2
    return tokens * (4 * d * d + matrices * d * hidden) + 2 * tokens * tokens * d


def _embedding_parameters(trial: TrialConfig) -> int:
    patch, d = trial.token_dim, trial.model.width
    match trial.model.embedding:
        case LinearEmbedding():
            return patch * d + d
        case BottleneckEmbedding(dim=dim):
            return patch * dim + dim * d + d
        case ConvStemEmbedding():
            channels = (trial.data.channels, *conv_stem_channels(trial.model))
            stem = sum(9 * a * b + b for a, b in pairwise(channels))
            return stem + channels[-1] * d + d


def _input_gradient_macs(trial: TrialConfig) -> int:
    """Of the first product of the patch embedding and of the time embedding."""
    tokens, patch, d = trial.grid**2, trial.token_dim, trial.model.width
    match trial.model.embedding:
        case LinearEmbedding():
            first = tokens * patch * d
        case BottleneckEmbedding(dim=dim):
            first = tokens * patch * dim
        case ConvStemEmbedding():
            first = 9 * trial.data.channels * conv_stem_channels(trial.model)[0] * (trial.data.image_size // 2) ** 2
    return first + TIME_FEATURES * d


def _embedding_macs(trial: TrialConfig) -> int:
    tokens, patch, d = trial.grid**2, trial.token_dim, trial.model.width
    match trial.model.embedding:
        case LinearEmbedding():
            return tokens * patch * d
        case BottleneckEmbedding(dim=dim):
            return tokens * (patch * dim + dim * d)
        case ConvStemEmbedding():
            channels = (trial.data.channels, *conv_stem_channels(trial.model))
            sides = [trial.data.image_size >> i for i in range(1, len(channels))]
            stem = sum(9 * a * b * side**2 for (a, b), side in zip(pairwise(channels), sides, strict=True))
            return stem + tokens * channels[-1] * d
