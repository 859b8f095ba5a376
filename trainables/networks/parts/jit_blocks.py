"""The trunk of JiT: time and class, the blocks they modulate, and the final norm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs, Part
from trainables.networks.sizes import BF16, FP32, TIME_FEATURES, activation_bytes, mlp_hidden, modulation_chunks, routed_tokens

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class JitBlocks:
    """Everything between the embedding and the head."""

    trial: TrialConfig
    embedding: Part
    head: Part

    def parameters(self) -> int:
        """The fixed position tables do not count."""
        model, d = self.trial.model, self.trial.model.width
        time = self._told * (TIME_FEATURES * d + d + d * d + d)
        label = (self.trial.data.num_classes + 1) * d
        modulation = (d * d + d) * modulation_chunks(model)
        final = d if not model.reads_pixels and (model.final_norm or model.norm) == "rms" else 0
        return time + label + model.class_tokens * d + modulation + model.depth * block_parameters(model) + final

    def macs(self) -> Macs:
        """The sinusoids of t are data."""
        model, d, tokens = self.trial.model, self.trial.model.width, self.trial.grid**2
        conditions = self._told * (TIME_FEATURES * d + d * d) + d * d * modulation_chunks(model)
        before, longest = self._before, tokens + model.class_tokens
        blocks = before * block_macs(model, tokens) + (model.depth - before) * block_macs(model, longest)
        return Macs(conditions + blocks, input_gradient=self._told * TIME_FEATURES * d)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The modulation, what all blocks keep, and what the one under way works with."""
        trial, model, tokens = self.trial, self.trial.model, self.trial.grid**2
        before, longest = self._before, tokens + model.class_tokens
        around = 2 * modulation_chunks(model) * model.width * FP32 + longest * _working_bytes(trial, longest)
        if recomputed:
            kept = _incoming_bytes(trial) * (before * tokens + (model.depth - before) * longest)
            return around + kept + longest * _token_bytes(trial, longest)
        late = (model.depth - before) * longest * _token_bytes(trial, longest)
        return around + before * tokens * _token_bytes(trial, tokens) + late

    def initial(self, name: str) -> Initial:
        """As the official code draws them; a modulation of zero closes every gate."""
        match name.split(".")[0]:
            case "modulation":
                return "torch" if self.trial.model.adaln_start == "torch" else "zeros"
            case "time" | "size" | "label" | "class_positions" if not name.endswith("bias"):
                return "normal"
            case "time" | "size":
                return "torch" if self.trial.model.block_start == "torch" else "zeros"
        return block_initial(name, self.trial.model)

    def module(self) -> "nn.Module":
        """The whole network: the trunk takes the embedding and the head in."""
        from trainables.networks.jit import JiT

        return JiT(self.trial, embedding=self.embedding.module(), head=self.head.module())

    @property
    def _told(self) -> int:
        """Numbers that an MLP of sinusoids takes: the time, and the tokens along a side."""
        return 2 if self.trial.model.size_embedding else 1

    @property
    def _before(self) -> int:
        """Blocks before the class tokens join."""
        return self.trial.model.class_tokens_start if self.trial.model.class_tokens else self.trial.model.depth


def block_initial(name: str, model: ModelConfig) -> Initial:
    """How a tensor of a block, or of a norm, starts."""
    norm = any(part.endswith(("norm", "norm1", "norm2")) for part in name.split("."))
    if norm:
        return "zeros" if name.endswith("bias") else "ones"
    if model.block_start == "torch":
        return "torch"
    return "zeros" if name.endswith("bias") else "xavier"


def block_bytes(trial: TrialConfig, tokens: int) -> int:
    """What one block keeps of an image of so many tokens for its backward pass."""
    return tokens * _token_bytes(trial, tokens)


def _token_bytes(trial: TrialConfig, tokens: int) -> int:
    """What one block keeps of one token for its backward pass.

    What its two norms keep; in the precision of the products the inputs and outputs of the four projections, the attention's
    output, q and k turned, and before that normalised where torch computes, and the MLP's hidden values.
    """
    model, activation = trial.model, activation_bytes(trial)
    kept = 2 * _norm_bytes(trial) + activation * (2 * model.width + _hidden_values(trial))
    return kept + _dropout_bytes(model, activation) + attention_bytes(trial, tokens)


def attention_bytes(trial: TrialConfig, tokens: int) -> int:
    """What attention keeps of one token for its backward pass."""
    model, activation = trial.model, activation_bytes(trial)
    attention = FP32 if trial.device == "cpu" else activation  # a CPU trains its attention in fp32
    heads = 3 if trial.kernels == "triton" else 3 + 2 * model.qk_norm
    return activation * 5 * model.width + attention * heads * model.width + _weights_bytes(trial, tokens)


def _hidden_values(trial: TrialConfig) -> int:
    """Numbers of one token inside the MLP, or their gradients: of SwiGLU a, b, silu(a) b, and silu(a) but in Triton's
    kernel, which knows no dropout; of GELU's before and after it."""
    swiglu = 3 if trial.kernels == "triton" and not trial.model.proj_dropout else 4
    return mlp_hidden(trial.model) * (swiglu if trial.model.mlp == "swiglu" else 2)


def _weights_bytes(trial: TrialConfig, tokens: int) -> int:
    """Of one token's attention weights: the sum of each head's, or all where attention is written out."""
    return _matrix_bytes(trial.model, tokens) if trial.attention == "fp32" else FP32 * trial.model.heads


def _norm_bytes(trial: TrialConfig) -> int:
    """What one norm keeps of one token: the stream and its normalised form in fp32; Triton's kernel the stream in its own
    precision, a mean and a deviation."""
    width = trial.model.width
    return _stream_bytes(trial) * width + 2 * FP32 if trial.kernels == "triton" else 2 * FP32 * width


def _incoming_bytes(trial: TrialConfig) -> int:
    """What one token of the stream takes between two blocks: where Triton computes, the last branch is not yet added to it."""
    waiting = activation_bytes(trial) if trial.kernels == "triton" else 0
    return (_stream_bytes(trial) + waiting) * trial.model.width


def _dropout_bytes(model: ModelConfig, activation: int) -> int:
    """A mask of one byte, and a copy, of the attention's output and of the MLP's hidden values."""
    return (activation + 1) * (model.width + mlp_hidden(model)) if model.proj_dropout else 0


def _working_bytes(trial: TrialConfig, tokens: int) -> int:
    """Gradients of one block's widest part, one token: of its hidden values and the stream, and of the attention matrix."""
    matrix = 2 * _matrix_bytes(trial.model, tokens) if trial.attention == "fp32" else 0
    stream = _stream_bytes(trial) if trial.kernels == "triton" else FP32  # torch's kernels take the stream in fp32
    hidden = activation_bytes(trial) * _hidden_values(trial)
    return 2 * stream * trial.model.width + hidden + matrix


def _matrix_bytes(model: ModelConfig, tokens: int) -> int:
    """A token's row of the attention weights in fp32, over all heads."""
    return FP32 * model.heads * tokens


def _stream_bytes(trial: TrialConfig) -> int:
    return BF16 if trial.residual == "bf16" else FP32


def block_parameters(model: ModelConfig) -> int:
    """Of one block with its two norms and without its modulation."""
    d, hidden = model.width, mlp_hidden(model)
    wide = 2 * hidden if model.mlp == "swiglu" else hidden
    mlp = d * wide + hidden * d + (wide + d if model.bias else 0)
    return attention_parameters(model) + mlp + d * (model.norm, model.mlp_norm or model.norm).count("rms")


def skipped_macs(trial: TrialConfig) -> int:
    """What one image spares of a forward pass in training, where tokens skip the middle blocks."""
    model, tokens = trial.model, trial.grid**2
    if model.routing.kind == "none":
        return 0
    middle, beside = model.depth - 2 * model.routing.ends, model.class_tokens
    return middle * (block_macs(model, tokens + beside) - block_macs(model, routed_tokens(trial) + beside))


def attention_parameters(model: ModelConfig) -> int:
    """Of one attention."""
    d = model.width
    of_each = {"rms": 2 * (d // model.heads), "layer": 4 * (d // model.heads), "joint": 2 * d}
    norms = of_each[model.qk_norm_kind] if model.qk_norm else 0
    return 4 * d * d + d + (3 * d if model.bias else 0) + norms


def block_macs(model: ModelConfig, tokens: int) -> int:
    """Of one block on an image of so many tokens."""
    d, hidden = model.width, mlp_hidden(model)
    matrices = 3 if model.mlp == "swiglu" else 2
    return tokens * (4 * d * d + matrices * d * hidden) + 2 * tokens * tokens * d
