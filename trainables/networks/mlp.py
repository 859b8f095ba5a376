"""The MLPs of a block: SwiGLU and GELU."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.network import ModelConfig
from trainables.config.recipe import Kernels
from trainables.networks.attention import bias_of, split_linear
from trainables.networks.kernel_choice import on_triton
from trainables.networks.sizes import mlp_hidden

ALIGNMENT = 8
"""Rows of a bf16 matrix must be a multiple of this long for a GPU's fast kernels."""


class SwiGlu(nn.Module):
    """silu(a) b of one wide projection, dropout, and back (SwiGLU; hidden width `sizes.mlp_hidden`)."""

    def __init__(self, model: ModelConfig, *, dropout: float, kernels: Kernels) -> None:
        super().__init__()
        hidden = mlp_hidden(model)
        self.dropout, self.kernels = dropout, kernels
        self.w12 = nn.Linear(model.width, 2 * hidden, bias=model.bias)
        self.w3 = nn.Linear(hidden, model.width, bias=model.bias)

    @property
    def output_bias(self) -> Tensor | None:
        """[D], of the last projection, or none."""
        return self.w3.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        if not self._on_triton(x):
            return self._plain(x, self.w3.bias)
        out = self._fused(x)
        return out if self.output_bias is None else out + self.output_bias.to(out.dtype)

    def unbiased(self, x: Tensor) -> Tensor:
        """`forward` without `output_bias`, for a kernel that adds the bias later."""
        return self._fused(x) if self._on_triton(x) else self._plain(x, None)

    def _on_triton(self, x: Tensor) -> bool:
        dropping = f"SwiGLU's kernel has no dropout, got dropout={self.dropout:g}" if self.dropout and self.training else ""
        return on_triton(self.kernels, x, unsupported=dropping)

    def _fused(self, x: Tensor) -> Tensor:
        """Without `w3.bias`; one Triton kernel between the products, forward and backward."""
        from trainables.networks.kernels.swiglu import swiglu

        return swiglu(x, self.w12.weight, bias_of(self.w12), self.w3.weight)

    def _plain(self, x: Tensor, out_bias: Tensor | None) -> Tensor:
        if x.is_cuda and self.w3.in_features % ALIGNMENT:
            return self._aligned(x, out_bias)
        a, b = split_linear(self.w12, x, parts=2)
        return F.linear(F.dropout(F.silu(a) * b, self.dropout, self.training), self.w3.weight, out_bias)

    def _aligned(self, x: Tensor, out_bias: Tensor | None) -> Tensor:
        """The same with zeros that fill up the hidden width: JiT-L's 2730 and H's 3413 are no width for tensor cores."""
        hidden = self.w3.in_features
        pad = -hidden % ALIGNMENT
        wide = F.pad(self.w12.weight.unflatten(0, (2, hidden)), (0, 0, 0, pad)).flatten(0, 1)
        bias = F.pad(bias_of(self.w12).unflatten(0, (2, hidden)), (0, pad)).flatten()
        a, b = F.linear(x, wide, bias).chunk(2, dim=-1)
        kept = F.dropout(F.silu(a) * b, self.dropout, self.training)
        return F.linear(kept, F.pad(self.w3.weight, (0, pad)), out_bias)


class GeluMlp(nn.Module):
    """DiT's MLP: one hidden layer with tanh-approximated GELU, dropout after it. torch computes it whatever `kernels` says."""

    def __init__(self, model: ModelConfig, *, dropout: float, kernels: Kernels) -> None:
        super().__init__()
        self.dropout, self.kernels = dropout, kernels
        self.first = nn.Linear(model.width, mlp_hidden(model), bias=model.bias)
        self.second = nn.Linear(mlp_hidden(model), model.width, bias=model.bias)

    @property
    def output_bias(self) -> Tensor | None:
        """[D], of the last projection, or none."""
        return self.second.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        out: Tensor = self.second(self._hidden(x))
        return out

    def unbiased(self, x: Tensor) -> Tensor:
        """`forward` without `output_bias`, for a kernel that adds the bias later."""
        return F.linear(self._hidden(x), self.second.weight)

    def _hidden(self, x: Tensor) -> Tensor:
        on_triton(self.kernels, x, unsupported="the MLP's kernel is SwiGLU's, got mlp=gelu")
        hidden = F.gelu(self.first(x), approximate="tanh")
        return F.dropout(hidden, self.dropout, self.training)
