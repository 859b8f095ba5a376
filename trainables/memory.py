"""How much memory training takes, in closed form and without torch, and which micro-batch fits."""

from typing import NamedTuple

from trainables.config import TrialConfig
from trainables.cost import mlp_hidden, modulation_chunks, parameter_count
from trainables.model_config import ModelConfig

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


def fit(trial: TrialConfig, *, share: int, memory_bytes: int) -> Fit:
    """The largest micro-batch that divides a worker's share and fits; activations are recomputed only where keeping them would
    leave a micro-batch too small to keep a GPU busy.

    Raises:
        Infeasible: with the bytes that one image takes.
    """
    kept, recomputed = (_largest(trial, share, memory_bytes, checkpointing) for checkpointing in (False, True))
    if kept is not None and (kept == share or kept * trial.grid**2 >= SATURATING_TOKENS):
        return Fit(kept, activation_checkpointing=False)
    if recomputed is None:
        least = peak_bytes(trial, Fit(1, activation_checkpointing=True))
        rule = "one image must fit a worker's memory, with its activations recomputed"
        gib = f"{least / HEADROOM / 2**30:.1f} GiB of {memory_bytes / 2**30:.1f}"
        raise Infeasible(f"{rule}, got {gib}; try a larger patch_size, a smaller model or attention=sdpa")
    if kept is not None and recomputed == kept:
        return Fit(kept, activation_checkpointing=False)
    return Fit(recomputed, activation_checkpointing=True)


def _largest(trial: TrialConfig, share: int, memory_bytes: int, checkpointing: bool) -> int | None:
    divisors = (count for count in range(share, 0, -1) if share % count == 0)
    limit = HEADROOM * memory_bytes
    return next((count for count in divisors if peak_bytes(trial, Fit(count, checkpointing)) <= limit), None)


def peak_bytes(trial: TrialConfig, how: Fit) -> int:
    """Most bytes at once in an update: what stays over updates, what the backward pass needs, what it works with."""
    images = trial.data.channels * trial.data.image_size**2 * FP32
    around = 9 * images + 2 * modulation_chunks(trial.model) * trial.model.width * FP32
    return state_bytes(trial) + how.micro_batch * (around + _blocks_bytes(trial, checkpointing=how.activation_checkpointing))


def state_bytes(trial: TrialConfig) -> int:
    """Weights, gradients, AdamW's two moments and the averages; under bf16 also the weights' copies in that precision."""
    copies = (4 + len(trial.ema)) * FP32 + (2 if trial.precision == "bf16" else 0)
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
    products = 10 + 2 * model.qk_norm
    hidden = mlp_hidden(model) * (4 if model.mlp == "swiglu" else 2)
    kept = 4 * FP32 * model.width + activation * (products * model.width + hidden)
    return kept + (_matrix_bytes(model, tokens) if trial.attention == "fp32" else FP32 * model.heads)


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
