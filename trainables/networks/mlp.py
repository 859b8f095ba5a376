"""The MLPs of a block: SwiGLU and GELU."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.network import ModelConfig
from trainables.networks.attention import split_linear
from trainables.networks.sizes import mlp_hidden

ALIGNMENT = 8
"""Rows of a bf16 matrix must be a multiple of this long for a GPU's fast kernels."""


class SwiGlu(nn.Module):
    """silu(a) b of one wide projection, dropout, and back (SwiGLU; hidden width `sizes.mlp_hidden`)."""

    def __init__(self, model: ModelConfig, *, dropout: float) -> None:
        super().__init__()
        hidden = mlp_hidden(model)
        self.dropout = dropout
        self.w12 = nn.Linear(model.width, 2 * hidden)
        self.w3 = nn.Linear(hidden, model.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        if x.is_cuda and self.w3.in_features % ALIGNMENT:
            return self._aligned(x)
        a, b = split_linear(self.w12, x, parts=2)
        out: Tensor = self.w3(F.dropout(F.silu(a) * b, self.dropout, self.training))
        return out

    def _aligned(self, x: Tensor) -> Tensor:
        """The same with zeros that fill up the hidden width: JiT-L's 2730 and H's 3413 are no width for tensor cores."""
        hidden = self.w3.in_features
        pad = -hidden % ALIGNMENT
        wide = F.pad(self.w12.weight.unflatten(0, (2, hidden)), (0, 0, 0, pad)).flatten(0, 1)
        bias = F.pad(self.w12.bias.unflatten(0, (2, hidden)), (0, pad)).flatten()
        a, b = F.linear(x, wide, bias).chunk(2, dim=-1)
        kept = F.dropout(F.silu(a) * b, self.dropout, self.training)
        return F.linear(kept, F.pad(self.w3.weight, (0, pad)), self.w3.bias)


class GeluMlp(nn.Module):
    """DiT's MLP: one hidden layer with tanh-approximated GELU, dropout after it."""

    def __init__(self, model: ModelConfig, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Linear(model.width, mlp_hidden(model))
        self.second = nn.Linear(mlp_hidden(model), model.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        hidden = F.gelu(self.first(x), approximate="tanh")
        out: Tensor = self.second(F.dropout(hidden, self.dropout, self.training))
        return out
