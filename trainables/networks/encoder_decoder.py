"""A plain vision transformer as an encoder, and a decoder of another width whose blocks read the encoder's again, the last
first (EPG, arXiv 2510.12586)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.network import ModelConfig
from trainables.config.recipe import AttentionMode
from trainables.config.trial import TrialConfig
from trainables.config.trunks import EncoderDecoderTrunk
from trainables.networks.attention import attend, split_linear
from trainables.networks.embedding import LinearPatches, images_of
from trainables.networks.network import Network, in_precision, through
from trainables.networks.sizes import BEFORE_PATCHES, plain_hidden

EPS = 1e-5
"""Of the norms."""


class AffineNorm(nn.LayerNorm):
    """LayerNorm with weight and bias, in float32 whatever comes in."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """float32 of x's shape."""
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


class PlainAttention(nn.Module):
    """Attention without norms of q and k, rotary positions or biases before its output."""

    def __init__(self, width: int, *, heads: int, mode: AttentionMode) -> None:
        super().__init__()
        self.heads, self.mode = heads, mode
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        parts = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in split_linear(self.qkv, x, parts=3))
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())  # as in JiT's attention
        with torch.autocast(x.device.type, enabled=False):
            q, k, v = (part.float() if wide else part for part in parts)
            mixed = attend(q, k, v, mode=self.mode)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class ExactMlp(nn.Module):
    """One hidden layer with GELU as it is defined."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        out: Tensor = self.second(F.gelu(self.first(x)))
        return out


class EncoderBlock(nn.Module):
    """Attention and MLP, each normalised before; nothing modulates them (ViT, arXiv 2010.11929)."""

    def __init__(self, width: int, *, heads: int, hidden: int, mode: AttentionMode) -> None:
        super().__init__()
        self.norm1, self.attention = AffineNorm(width), PlainAttention(width, heads=heads, mode=mode)
        self.norm2, self.mlp = AffineNorm(width), ExactMlp(width, hidden=hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = (x + self.attention(self.norm1(x))).to(x.dtype)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out.to(x.dtype)


class DecoderBlock(nn.Module):
    """The stream beside what an encoder's block has left, mapped and normalised; then a block that is modulated before and
    gated after its two halves (adaLN-Zero)."""

    def __init__(self, width: int, *, heads: int, hidden: int, mode: AttentionMode, encoder_width: int) -> None:
        super().__init__()
        self.merge, self.merge_norm = nn.Linear(width + encoder_width, width), AffineNorm(width)
        self.modulation = nn.Linear(encoder_width, 6 * width)
        self.norm1, self.attention = AffineNorm(width), PlainAttention(width, heads=heads, mode=mode)
        self.norm2, self.mlp = AffineNorm(width), ExactMlp(width, hidden=hidden)

    def forward(self, x: Tensor, skip: Tensor, condition: Tensor) -> Tensor:
        """x [B, T, D'], skip [B, T, D], condition [B, D] -> [B, T, D']."""
        joined = torch.cat((x, skip.to(x.dtype)), dim=-1)
        x = self.merge_norm(self.merge(joined)).to(x.dtype)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition).float()[:, None].chunk(6, dim=-1)
        h = torch.addcmul(shift1, self.norm1(x), 1 + scale1)
        x = torch.addcmul(x, gate1, self.attention(h)).to(x.dtype)
        h = torch.addcmul(shift2, self.norm2(x), 1 + scale2)
        return torch.addcmul(x, gate2, self.mlp(h)).to(x.dtype)


class Encoder(nn.Module):
    """Tokens of the whole image, the time and the patches, with learned positions, through plain blocks and a norm."""

    frequencies: Tensor

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        model = trial.model
        sizes = {"heads": model.heads, "hidden": plain_hidden(model, model.width)}
        self.embedding = LinearPatches(trial)
        self.class_token = nn.Parameter(torch.zeros(model.width))
        self.positions = nn.Parameter(torch.zeros(BEFORE_PATCHES + trial.grid**2, model.width))
        self.blocks = nn.ModuleList([EncoderBlock(model.width, **sizes, mode=trial.attention) for _ in range(model.depth)])
        self.norm = AffineNorm(model.width)
        self.register_buffer("frequencies", _frequencies(model), persistent=False)

    def time(self, t: Tensor) -> Tensor:
        """Cosines and sines of the time as it is told, float32 [B] -> [B, D]."""
        angle = t.float()[:, None] * self.frequencies
        return torch.cat((angle.cos(), angle.sin()), dim=-1)

    def forward(self, network: Network, z: Tensor, time: Tensor, label: Tensor | None = None) -> list[Tensor]:
        """z [B, C, H, W], time and label [B, D] -> what each block leaves, [B, 2 + N, D]."""
        whole = self.class_token.expand(len(z), -1) if label is None else self.class_token + label
        tokens = torch.cat((whole[:, None], time[:, None], self.embedding(z)), dim=1)
        x = in_precision(network, tokens + self.positions)
        left = []
        for block in self.blocks:
            x = through(network, block, x)
            left.append(x)
        return left


class EncoderDecoder(Network):
    """EPG's network: the decoder's block i reads what the encoder's block depth - 1 - i has left."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        model, trunk, self.trial = trial.model, trial.model.trunk, trial
        assert isinstance(trunk, EncoderDecoderTrunk)
        decoder = trunk.decoder(model.encoder)
        sizes = {"heads": decoder.heads, "hidden": plain_hidden(model, decoder.width), "encoder_width": model.width}
        self.encoder = Encoder(trial)
        self.label = nn.Embedding(trial.data.num_classes + 1, model.width)
        self.to_decoder = nn.Linear(model.width, decoder.width)
        self.blocks = nn.ModuleList([DecoderBlock(decoder.width, **sizes, mode=trial.attention) for _ in range(decoder.depth)])
        self.final_norm, self.head = AffineNorm(decoder.width), nn.Linear(decoder.width, trial.token_dim)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B], y int64 [B] in 0..num_classes (the last is null) -> [B, C, H, W]."""
        time, label = self.encoder.time(t), self.label(y)
        left = self.encoder(self, z, time, label)
        condition = F.silu(time + label)
        x = in_precision(self, self.to_decoder(self.encoder.norm(left[-1])))
        for block, skip in zip(self.blocks, reversed(left), strict=False):
            x = through(self, block, x, skip, condition)
        patches = self.head(self.final_norm(x[:, BEFORE_PATCHES:]))
        return images_of(patches, self.trial.seen_patch, self.trial.channels).float()


def _frequencies(model: ModelConfig) -> Tensor:
    """Of the sinusoids that fill a token, float32 [D / 2]."""
    count = model.width // 2
    return (-math.log(model.time_period) * torch.arange(count, dtype=torch.float32) / count).exp()
