"""How much memory training takes, in closed form and without torch, and which micro-batch fits."""

from typing import NamedTuple

from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.networks.cost import mlp_hidden, modulation_chunks, parameter_count

FP32 = 4
"""Bytes; the residual stream, weights, gradients and averages are always fp32."""
SATURATING_TOKENS = 16_384
"""Tokens in a micro-batch that keep a GPU busy: below them recomputing costs less than a smaller micro-batch."""
HEADROOM = 0.9
"""Share of the memory that the model may fill: allocators fragment, kernels want workspace."""


class Infeasible(ValueError):
    """Not even one image fits."""


class Fit(NamedTuple):
    """How a worker goes through its share of a batch."""

    micro_batch: int
    activation_checkpointing: bool


def fit(
    trial: TrialConfig,
    *,
    share: int,
    memory_bytes: int | None,
    workers: int = 1,
    micro_batch: int | None = None,
    activation_checkpointing: bool | None = None,
) -> Fit:
    """The largest micro-batch that divides a worker's share and fits; activations are recomputed only where keeping them would
    leave a micro-batch too small to keep a GPU busy. What is asked for is kept to; `memory_bytes` None is no limit.

    Raises:
        Infeasible: with the bytes that the least of what may be chosen takes.
    """
    if memory_bytes is None:
        return Fit(min(micro_batch or share, share), activation_checkpointing=bool(activation_checkpointing))
    sizes = [min(micro_batch, share)] if micro_batch else [count for count in range(share, 0, -1) if share % count == 0]
    ways = (False, True) if activation_checkpointing is None else (activation_checkpointing,)
    limit = HEADROOM * memory_bytes
    fitting = [Fit(size, way) for way in ways for size in sizes if peak_bytes(trial, Fit(size, way), workers=workers) <= limit]
    if not fitting:
        least = peak_bytes(trial, Fit(sizes[-1], ways[-1]), workers=workers)
        raise Infeasible(_too_large(sizes[-1], ways[-1], least=least, memory_bytes=memory_bytes))
    largest = max(fitting, key=lambda how: (how.micro_batch, not how.activation_checkpointing))
    kept = next((how for how in fitting if not how.activation_checkpointing), largest)
    busy = kept.micro_batch * trial.grid**2 >= SATURATING_TOKENS
    return kept if busy or kept.micro_batch == largest.micro_batch else largest


def _too_large(images: int, recomputed: bool, *, least: int, memory_bytes: int) -> str:
    how = f"{images} images at once" if images > 1 else "one image"
    rule = f"{how} must fit a worker's memory{', with its activations recomputed' if recomputed else ''}"
    gib = f"{least / HEADROOM / 2**30:.3g} GiB of {memory_bytes / 2**30:.3g}"
    return f"{rule}, got {gib}; try a larger patch_size, a smaller model, attention=sdpa or more `memory_gib`"


def peak_bytes(trial: TrialConfig, how: Fit, *, workers: int = 1) -> int:
    """Most bytes at once in an update: what stays over updates, what the backward pass needs, what it works with."""
    images = trial.data.channels * trial.data.image_size**2 * FP32
    around = 9 * images + 2 * modulation_chunks(trial.model) * trial.model.width * FP32
    return state_bytes(trial, workers=workers) + how.micro_batch * (
        around + _blocks_bytes(trial, checkpointing=how.activation_checkpointing)
    )


def state_bytes(trial: TrialConfig, *, workers: int = 1) -> int:
    """Weights, gradients, AdamW's two moments and the averages; under bf16 also the weights' copies in that precision, and
    with several workers the gradients as one tensor to sum."""
    copies = (4 + len(trial.ema) + (workers > 1)) * FP32 + (2 if trial.precision == "bf16" else 0)
    return copies * parameter_count(trial)


def _blocks_bytes(trial: TrialConfig, *, checkpointing: bool) -> int:
    """Of one image: what all blocks keep, and what the one under way works with."""
    model, tokens = trial.model, trial.grid**2
    before = model.class_tokens_start if model.class_tokens else model.depth
    longest = tokens + model.class_tokens
    working = longest * _working_bytes(trial, longest)
    if checkpointing:
        kept = FP32 * model.width * (before * tokens + (model.depth - before) * longest)
        return kept + longest * _token_bytes(trial, longest) + working
    kept = before * tokens * _token_bytes(trial, tokens) + (model.depth - before) * longest * _token_bytes(trial, longest)
    return kept + working


def _token_bytes(trial: TrialConfig, tokens: int) -> int:
    """What one block keeps of one token for its backward pass.

    Twice the residual stream and its normalised form in fp32; in the precision of the products the inputs and outputs of the
    four projections, q and k normalised and turned, the attention's output, and the MLP's hidden values.
    """
    model, activation = trial.model, _activation_bytes(trial)
    attention = FP32 if trial.device == "cpu" else activation  # a CPU trains its attention in fp32
    hidden = mlp_hidden(model) * (4 if model.mlp == "swiglu" else 2)
    products = activation * (7 * model.width + hidden) + attention * (3 + 2 * model.qk_norm) * model.width
    kept = 4 * FP32 * model.width + products + _dropout_bytes(model, activation)
    return kept + (_matrix_bytes(model, tokens) if trial.attention == "fp32" else FP32 * model.heads)


def _dropout_bytes(model: ModelConfig, activation: int) -> int:
    """A mask of one byte, and a copy, of the attention's output and of the MLP's hidden values."""
    return (activation + 1) * (model.width + mlp_hidden(model)) if model.dropout else 0


def _working_bytes(trial: TrialConfig, tokens: int) -> int:
    """Gradients of one block's widest part, one token: of its hidden values and the stream, and of the attention matrix."""
    hidden = mlp_hidden(trial.model) * (4 if trial.model.mlp == "swiglu" else 2)
    matrix = 2 * _matrix_bytes(trial.model, tokens) if trial.attention == "fp32" else 0
    return 2 * FP32 * trial.model.width + _activation_bytes(trial) * hidden + matrix


def _matrix_bytes(model: ModelConfig, tokens: int) -> int:
    """A token's row of the attention weights in fp32, over all heads."""
    return FP32 * model.heads * tokens


def _activation_bytes(trial: TrialConfig) -> int:
    return 2 if trial.precision == "bf16" else FP32
