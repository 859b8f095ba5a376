"""U-ViTs as the network of a trial: convolutions at sides that halve, and a transformer at the bottom.

Simple diffusion (arXiv 2301.11093) has published no code: blocks and attention are those of the reimplementation by lucidrains.
The residual form is SiD2's (arXiv 2410.19324), of its formula alone.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UvitSizes
from trainables.networks.attention import attend
from trainables.networks.network import Network, in_precision, through
from trainables.networks.sizes import LINEAR_HEAD, LINEAR_HEADS, UNET_CONDITION

COSINE_SCALE = 8.0
"""By which the cosines of q and k are multiplied before the softmax."""


def to_unit_rms(x: Tensor, *, dim: int) -> Tensor:
    """float32 of x's shape, whose root mean square along a dimension is 1."""
    return F.normalize(x.float(), dim=dim) * math.sqrt(x.shape[dim])


class ChannelNorm(nn.Module):
    """RMSNorm over the channels of each pixel, with a learned weight, in float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> float32 [B, C, H, W]."""
        return to_unit_rms(x, dim=1) * self.weight.view(-1, 1, 1)


class LearnedTime(nn.Module):
    """t and its sinusoids of learned frequencies through a two-layer MLP."""

    def __init__(self, width: int, *, features: int) -> None:
        super().__init__()
        self.waves = nn.Parameter(torch.empty(features // 2))
        self.into, self.out = nn.Linear(features + 1, width), nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """float32 [B] -> [B, E]."""
        t = t.float()[:, None]
        angle = 2 * math.pi * t * self.waves
        embedded: Tensor = self.out(F.gelu(self.into(torch.cat((t, angle.sin(), angle.cos()), dim=-1))))
        return embedded


class ConvBlock(nn.Module):
    """Two convolutions, each normalised after; time and class scale and shift the first."""

    def __init__(self, into: int, width: int, condition: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(into, width, 3, padding=1), ChannelNorm(width)
        self.condition = nn.Linear(condition, 2 * width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), ChannelNorm(width)
        self.shortcut = nn.Identity() if into == width else nn.Conv2d(into, width, 1)

    def forward(self, x: Tensor, skip: Tensor | None, condition: Tensor) -> Tensor:
        """x [B, C, H, W] with what joins it from the way down; condition [B, E], silu of time and class."""
        x = x if skip is None else torch.cat((x, skip), dim=1)
        scale, shift = self.condition(condition).float()[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm1(self.conv1(x)), 1 + scale))
        h = F.silu(self.norm2(self.conv2(h)))
        out: Tensor = self.shortcut(x) + h
        return out.to(x.dtype)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in pixels (arXiv 1812.01243): q softmax over a head, k over the pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = LINEAR_HEADS * LINEAR_HEAD
        self.norm, self.qkv = ChannelNorm(width), nn.Conv2d(width, 3 * inner, 1, bias=False)
        self.proj, self.out_norm = nn.Conv2d(inner, width, 1), ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        rows = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, LINEAR_HEADS, LINEAR_HEAD))
        q, k, v = rows.unbind(1)
        q, k = q.softmax(-2) * LINEAR_HEAD**-0.5, k.softmax(-1)
        mixed = (v @ k.mT) @ q  # [B, heads, d, N]
        out: Tensor = self.out_norm(self.proj(mixed.flatten(1, 2).unflatten(-1, x.shape[2:]))) + x
        return out.to(x.dtype)


class BottomBlock(nn.Module):
    """Attention by cosines and an MLP whose hidden values time and class scale and shift, over the pixels at the bottom."""

    def __init__(self, trial: TrialConfig, trunk: UvitSizes) -> None:
        super().__init__()
        width, inner = trunk.channels[-1], trunk.heads * trunk.head_channels
        hidden = trunk.mlp_ratio * width
        self.heads, self.mode, self.dropout = trunk.heads, trial.attention, trunk.dropout
        self.norm = nn.Parameter(torch.ones(width))
        self.qkv, self.proj = nn.Linear(width, 3 * inner, bias=False), nn.Linear(inner, width, bias=False)
        self.q_scale, self.k_scale = (nn.Parameter(torch.ones(trunk.head_channels)) for _ in range(2))
        self.first, self.second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        self.condition = nn.Linear(UNET_CONDITION * trunk.width, 2 * hidden)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        x = (x + self.proj(self._mixed(x))).to(x.dtype)
        scale, shift = self.condition(condition).float()[:, None].chunk(2, dim=-1)
        h = torch.addcmul(shift, F.silu(self.first(to_unit_rms(x, dim=-1))).float(), 1 + scale)
        out: Tensor = x + self.second(F.dropout(h, self.dropout, self.training))
        return out.to(x.dtype)

    def _mixed(self, x: Tensor) -> Tensor:
        """What each head reads from all pixels, side by side."""
        rows = self.qkv(to_unit_rms(x, dim=-1) * self.norm)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in rows.chunk(3, dim=-1))
        q, k = F.normalize(q.float(), dim=-1) * self.q_scale, F.normalize(k.float(), dim=-1) * self.k_scale
        q = q * (COSINE_SCALE * math.sqrt(q.shape[-1]))  # `attend` divides by the root again
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())  # as in JiT's attention
        dtype = torch.float32 if wide else v.dtype
        with torch.autocast(x.device.type, enabled=False):
            dropout = self.dropout if self.training else 0.0
            out = attend(q.to(dtype), k.to(dtype), v.to(dtype), mode=self.mode, dropout=dropout)
        return out.transpose(1, 2).flatten(2)


class Down(nn.Module):
    """Four pixels become one."""

    def __init__(self, into: int, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(4 * into, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2]."""
        out: Tensor = self.map(F.pixel_unshuffle(x, 2))
        return out.to(x.dtype)


class Up(nn.Module):
    """One pixel becomes four; silu between them, or a linear map where it brings a difference."""

    def __init__(self, into: int, width: int, *, linear: bool) -> None:
        super().__init__()
        self.map, self.linear = nn.Conv2d(into, 4 * width, 1), linear

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', 2 H, 2 W]."""
        mapped = self.map(x)
        return F.pixel_shuffle(mapped if self.linear else F.silu(mapped), 2).to(x.dtype)


class Uvit(Network):
    """A U-ViT under JiT's conditions: t is told raw, and the last class is the null one."""

    def __init__(self, trial: TrialConfig, *, residual: bool) -> None:
        super().__init__()
        trunk, self.trial, self.residual = trial.model.trunk, trial, residual
        assert isinstance(trunk, UvitSizes)
        condition, levels = UNET_CONDITION * trunk.width, trunk.channels[:-1]
        self.time = LearnedTime(condition, features=trunk.time_features)
        self.label = nn.Embedding(trial.data.num_classes + 1, condition)
        kernel, stride, padding = (7, 1, 3) if trunk.patch == 1 else (trunk.patch, trunk.patch, 0)
        self.first = nn.Conv2d(trial.channels, trunk.width, kernel, stride=stride, padding=padding)
        joined = 1 if residual else 2
        self.down_blocks, self.up_blocks = (
            nn.ModuleList([ConvBlock(times * width, width, condition) for width in levels for _ in range(2)])
            for times in (1, joined)
        )
        self.down_attention, self.up_attention = (nn.ModuleList(map(LinearAttention, levels)) for _ in range(2))
        pairs = [*zip(levels, trunk.channels[1:], strict=True)]
        self.down = nn.ModuleList([Down(above, below) for above, below in pairs])
        self.up = nn.ModuleList([Up(below, above, linear=residual) for above, below in pairs])
        self.bottom = nn.ModuleList([BottomBlock(trial, trunk) for _ in range(trunk.depth)])
        self.final = ConvBlock(joined * trunk.width, trunk.width, condition)
        self._make_last(trunk)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def _make_last(self, trunk: UvitSizes) -> None:
        """A map of each pixel, and where a patch was one its pixels' own."""
        channels, patch = self.trial.channels, trunk.patch
        if patch == 1:
            self.last: nn.Module = nn.Conv2d(trunk.width, channels, 1)
        else:
            self.to_patch = nn.Conv2d(trunk.width, channels * patch**2, 1)
            self.last = nn.ConvTranspose2d(channels * patch**2, channels, patch, patch)

    def forward(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null) -> [B, C, H, W]."""
        condition = F.silu(self.time(t) + self.label(y))
        stem = in_precision(self, self.first(z))
        x = self._level(0, stem, condition)
        x = through(self, self.final, x, None if self.residual else stem, condition)
        output: Tensor = self.last(x if self.trial.model.patch == 1 else self.to_patch(x))
        return output.float()

    def _level(self, level: int, x: Tensor, condition: Tensor) -> Tensor:
        """A level with all below it; below the last one lies the transformer."""
        if level == len(self.down):
            return self._at_bottom(x, condition)
        first, second = 2 * level, 2 * level + 1
        kept = x = through(self, self.down_blocks[first], x, None, condition)
        x = through(self, self.down_blocks[second], x, None, condition)
        high = through(self, self.down_attention[level], x)
        low = through(self, self.down[level], high)
        if self.residual:
            changed = through(self, self.up[level], self._level(level + 1, low, condition) - low)
            x = through(self, self.up_blocks[first], changed + high, None, condition)
            x = through(self, self.up_blocks[second], x, None, condition)
        else:
            x = through(self, self.up[level], self._level(level + 1, low, condition))
            x = through(self, self.up_blocks[first], x, high, condition)
            x = through(self, self.up_blocks[second], x, kept, condition)
        out: Tensor = through(self, self.up_attention[level], x)
        return out

    def _at_bottom(self, x: Tensor, condition: Tensor) -> Tensor:
        tokens: Tensor = x.flatten(2).transpose(1, 2)
        for block in self.bottom:
            tokens = through(self, block, tokens, condition)
        out: Tensor = tokens.transpose(1, 2).unflatten(-1, x.shape[2:])
        return out
