"""An autoencoder with a Gaussian or a quantised code (latent diffusion, arXiv 2112.10752; VQ-VAE, arXiv 1711.00937)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.autoencoder import AutoencoderTrunk, KlCode, VqCode
from trainables.config.convolutions import GROUPS
from trainables.config.trial import TrialConfig
from trainables.networks.attention import attend
from trainables.networks.autoencoder_layout import CodingStep, decoder_steps, encoder_steps
from trainables.networks.network import Network, in_precision, through

EPS = 1e-6
"""Of the norms."""
LOG_VARIANCE = (-30.0, 20.0)
"""What the logarithm of a code's variance is kept within."""


class Coded(NamedTuple):
    """The code of some images, and what keeping it small costs."""

    code: Tensor
    """What is decoded, float32 [B, Z, h, w]."""
    penalty: Tensor
    """With its weight, float32 [B]."""


class Norm(nn.GroupNorm):
    """Over 32 groups of channels, in float32 whatever comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """float32 of x's shape."""
        return F.group_norm(x.float(), GROUPS, self.weight, self.bias, EPS)


class CodingBlock(nn.Module):
    """Two normalised convolutions beside a way past them."""

    def __init__(self, step: CodingStep) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(step.into), nn.Conv2d(step.into, step.width, 3, padding=1)
        self.norm2, self.conv2 = Norm(step.width), nn.Conv2d(step.width, step.width, 3, padding=1)
        self.shortcut = nn.Identity() if step.into == step.width else nn.Conv2d(step.into, step.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h, w]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.shortcut(x) + h
        return out.to(x.dtype)


class PlaceAttention(nn.Module):
    """Of every place to all, with one head, normalised before and added after."""

    def __init__(self, step: CodingStep, trial: TrialConfig) -> None:
        super().__init__()
        self.mode = trial.attention
        self.norm = Norm(step.width)
        self.qkv = nn.Linear(step.width, 3 * step.width)
        self.proj = nn.Linear(step.width, step.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        parts = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).unsqueeze(1).chunk(3, dim=-1)
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())  # as in JiT's attention
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.float32 if wide else parts[2].dtype
            q, k, v = (part.to(dtype) for part in parts)
            out = attend(q, k, v, mode=self.mode)
        added: Tensor = self.proj(out.squeeze(1))
        joined: Tensor = x + added.transpose(1, 2).unflatten(-1, x.shape[2:])
        return joined.to(x.dtype)


class CodingResampling(nn.Module):
    """A convolution that halves the side, padded below and to the right alone, or follows on repeated pixels."""

    def __init__(self, step: CodingStep) -> None:
        super().__init__()
        self.halves = step.kind == "down"
        self.conv = (
            nn.Conv2d(step.into, step.width, 3, stride=2) if self.halves else nn.Conv2d(step.into, step.width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h / 2 or 2 h, ...]."""
        seen = F.pad(x, (0, 1, 0, 1)) if self.halves else F.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.conv(seen)
        return out.to(x.dtype)


def _module(step: CodingStep, trial: TrialConfig) -> nn.Module:
    if step.kind == "block":
        return CodingBlock(step)
    return PlaceAttention(step, trial) if step.kind == "attention" else CodingResampling(step)


class Half(nn.Module):
    """The encoder or the decoder: a convolution, its steps, a norm and a convolution."""

    def __init__(self, trial: TrialConfig, steps: tuple[CodingStep, ...], *, into: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(into, steps[0].into, 3, padding=1)
        self.steps = nn.ModuleList([_module(step, trial) for step in steps])
        self.norm = Norm(steps[-1].width)
        self.last = nn.Conv2d(steps[-1].width, out, 3, padding=1)

    def forward(self, network: Network, x: Tensor) -> Tensor:
        """[B, `into`, ...] -> [B, `out`, ...] at the last step's side."""
        h = in_precision(network, self.first(x))
        for step in self.steps:
            h = through(network, step, h)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out


class Autoencoder(Network):
    """Encoder, code and decoder. Time and class are nothing to it."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        trunk, self.trial = trial.model.trunk, trial
        assert isinstance(trunk, AutoencoderTrunk)
        self.trunk, side, channels = trunk, trial.canvas.side, trunk.code_channels
        told = 2 * channels if trunk.code.kind == "kl" else channels
        self.encoder = Half(trial, encoder_steps(trunk, side=side), into=trial.channels, out=told)
        self.to_code, self.from_code = nn.Conv2d(told, told, 1), nn.Conv2d(channels, channels, 1)
        if isinstance(trunk.code, VqCode):
            self.entries = nn.Embedding(trunk.code.entries, channels)
        self.decoder = Half(trial, decoder_steps(trunk, side=side), into=channels, out=trial.channels)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(1.0), persistent=False)

    def forward(self, z: Tensor, _t: Tensor, _y: Tensor, _route: Tensor | None = None) -> Tensor:
        """Images float32 [B, C, H, W] made again, without chance; _t and _y are read by no autoencoder."""
        return self.decoded(self.encoded(z))

    def encoded(self, x: Tensor) -> Tensor:
        """The code of images [B, C, H, W], float32 [B, Z, h, w]: a Gaussian's mean, or what entries are sought next to."""
        told = self.told(x)
        return told.chunk(2, dim=1)[0] if isinstance(self.trunk.code, KlCode) else told

    def decoded(self, code: Tensor, *, quantise: bool = True) -> Tensor:
        """Images of codes [B, Z, h, w], float32. Each place becomes its nearest entry first, where there are entries, unless it
        is to stay as it is."""
        if quantise and isinstance(self.trunk.code, VqCode):
            code = self._nearest(code)
        out: Tensor = self.decoder(self, self.from_code(code))
        return out.float()

    def coded(self, x: Tensor, e: Tensor) -> Coded:
        """The code in training: drawn from its Gaussian by standard normal e [B, Z, h, w], or entries, past which the gradient
        goes straight."""
        told = self.told(x)
        if isinstance(self.trunk.code, KlCode):
            mean, log_variance = told.chunk(2, dim=1)
            log_variance = log_variance.clamp(*LOG_VARIANCE)
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
            penalty = self.trunk.code.weight / x[0].numel() * divergence
            return Coded(mean + (0.5 * log_variance).exp() * e, penalty)
        chosen = self._nearest(told)
        to_entry = (told.detach() - chosen).square().flatten(1).mean(1)
        to_code = (told - chosen.detach()).square().flatten(1).mean(1)
        return Coded(told + (chosen - told).detach(), to_entry + self.trunk.code.commitment * to_code)

    def reconstructed(self, x: Tensor, e: Tensor) -> tuple[Tensor, Coded]:
        """Images made again in training, float32 [B, C, H, W], and the codes that they are made of."""
        found = self.coded(x, e)
        out: Tensor = self.decoder(self, self.from_code(found.code))
        return out.float(), found

    def told(self, x: Tensor) -> Tensor:
        """Mean and log variance of a Gaussian code [B, 2 Z, h, w], or a code before entries are sought [B, Z, h, w]; fp32."""
        out: Tensor = self.to_code(self.encoder(self, x))
        return out.float()

    def _nearest(self, code: Tensor) -> Tensor:
        """The entry next to each place of codes [B, Z, h, w], of the same shape."""
        places = code.movedim(1, -1)
        flat, entries = places.reshape(-1, places.shape[-1]), self.entries.weight
        away = entries.square().sum(1) - 2 * flat @ entries.T  # what is the same for every entry is left out
        chosen: Tensor = self.entries(away.argmin(1).view(places.shape[:-1]))
        return chosen.movedim(-1, 1)
