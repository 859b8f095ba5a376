"""Multi-head self-attention with the recorded ways to compute it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.config.network import ModelConfig
from trainables.config.recipe import AttentionMode, Kernels
from trainables.networks.kernel_choice import on_triton
from trainables.networks.norm import HeadNorm
from trainables.networks.positions import rotate

DEMANDED = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
"""The fused kernels that a trial may demand of torch by name."""


class Attention(nn.Module):
    """Attention of JiT: one biased projection to q, k and v, RMSNorm on q and k, rotary positions, a biased output projection.

    `mode` "sdpa" is the fused kernel that torch chooses; "cudnn" and "flash" are cuDNN's and flash attention, or a RuntimeError
    that says why it cannot be; "triton" is our own, which alone of these gives the same gradients bit for bit every time; in
    the fp32 held-out error torch chooses for all three. "fp32" writes QK^T, the softmax and the product with v out in fp32,
    which some eps- and v-prediction runs need against loss spikes; the official code does the first two so, and the product
    with v in bf16.
    """

    def __init__(
        self, model: ModelConfig, *, mode: AttentionMode, attn_dropout: float, proj_dropout: float, kernels: Kernels
    ) -> None:
        super().__init__()
        head_dim = model.width // model.heads
        self.heads, self.mode, self.kernels = model.heads, mode, kernels
        self.attn_dropout, self.proj_dropout = attn_dropout, proj_dropout
        self.qkv = nn.Linear(model.width, 3 * model.width, bias=model.bias)
        self.q_norm = _head_norm(model, head_dim)
        self.k_norm = _head_norm(model, head_dim)
        self.joint = model.qk_norm and model.qk_norm_kind == "joint"
        if self.joint:
            self.q_norm, self.k_norm = HeadNorm(model.width), HeadNorm(model.width)
        self.proj = nn.Linear(model.width, model.width)

    def forward(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """x [B, T, D]; rotation [T, 1, d / 2, 2] or none -> [B, T, D]."""
        return F.dropout(self.proj(self._mixed(x, rotation)), self.proj_dropout, self.training)

    def unbiased(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """`forward` without dropout and without `proj.bias`, for a kernel that adds the bias later."""
        return F.linear(self._mixed(x, rotation), self.proj.weight)

    def _mixed(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """What each head reads from all tokens, side by side, [B, T, D]."""
        layer = "q's and k's kernel has RMSNorm, got a LayerNorm" if isinstance(self.q_norm, nn.LayerNorm) else ""
        layer = "q's and k's kernel has a norm of each head, got one of all jointly" if self.joint else layer
        fused = on_triton(self.kernels, x, unsupported=layer)
        heads = self._fused_heads(x, rotation) if fused else self._heads(x, rotation)
        # On a CPU the fused bf16 kernel's backward takes up to 7 times as long as its fp32 one; its forward is the faster.
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())
        dtype = torch.float32 if wide else heads[2].dtype
        with torch.autocast(x.device.type, enabled=False):
            out = self.attend(*(part.transpose(1, 2).to(dtype) for part in heads))
        return out.transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v, [B, T, heads, d] each."""
        q, k, v = split_linear(self.qkv, x, parts=3)
        if self.mode == "fp32" or not x.is_cuda:
            q, k = q.float(), k.float()
        if self.joint:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        if not self.joint:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v

    def _fused_heads(self, x: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """`_heads` with one Triton kernel after the projection, and one before it in the backward pass."""
        from trainables.networks.kernels.qkv import Turn, project

        q_norm, k_norm = (norm.weight if isinstance(norm, HeadNorm) else None for norm in (self.q_norm, self.k_norm))
        dtype = torch.float32 if self.mode == "fp32" or not x.is_cuda else None
        turn = Turn(q_norm, k_norm, rotation)
        return project(x, self.qkv.weight, bias_of(self.qkv), turn, heads=self.heads, dtype=dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(d)) v over [B, heads, T, d]."""
        return attend(q, k, v, mode=self.mode, dropout=self.attn_dropout if self.training else 0.0)


def attend(q: Tensor, k: Tensor, v: Tensor, *, mode: AttentionMode, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over [B, heads, T, d], as a mode of `Attention` has it."""
    if mode == "fp32":
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return F.dropout(weights, dropout, training=dropout > 0) @ v
    if mode == "triton" and q.dtype is not torch.float32:
        from trainables.networks.kernels.attention import attention

        return attention(q, k, v)
    if mode in DEMANDED and q.dtype is not torch.float32:
        with sdpa_kernel(DEMANDED[mode]):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)


def _head_norm(model: ModelConfig, head_dim: int) -> nn.Module:
    if not model.qk_norm or model.qk_norm_kind == "joint":
        return nn.Identity()
    return HeadNorm(head_dim) if model.qk_norm_kind == "rms" else nn.LayerNorm(head_dim)


def bias_of(layer: nn.Linear) -> Tensor:
    """A layer's bias, zeros where it has none: for kernels that add one."""
    bias: Tensor | None = layer.bias
    return layer.weight.new_zeros(layer.out_features) if bias is None else bias


def split_linear(layer: nn.Linear, x: Tensor, *, parts: int) -> tuple[Tensor, ...]:
    """The output of a linear layer cut into equal parts along the last dimension, [..., out / parts] each.

    One product. In training on a CPU one a part, because the elementwise kernels before and after take longer on slices.
    """
    if x.is_cuda or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        out: Tensor = layer(x)
        return out.chunk(parts, dim=-1)
    bias: Tensor | None = layer.bias
    biases = (None,) * parts if bias is None else bias.chunk(parts)
    return tuple(F.linear(x, w, b) for w, b in zip(layer.weight.chunk(parts), biases, strict=True))
