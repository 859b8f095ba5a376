"""ADM's U-Net (arXiv 2105.05233, section 3) as the network of a trial: convolutions over pixels, attention at some sides."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.convolutions import GROUPS
from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetSizes, UnetTrunk
from trainables.networks.attention import attend
from trainables.networks.embedding import TimeEmbedding
from trainables.networks.network import Network, in_precision, through
from trainables.networks.sizes import UNET_CONDITION
from trainables.networks.unet_layout import Change, UnetStep, layout


class GroupNorm(nn.GroupNorm):
    """Over 32 groups of channels, in float32 whatever comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """float32 of x's shape."""
        return F.group_norm(x.float(), GROUPS, self.weight, self.bias, self.eps)


def resampled(x: Tensor, change: Change) -> Tensor:
    """[B, C, H, W] at half the side by averages, or at twice the side by repeating pixels."""
    match change:
        case "down":
            return F.avg_pool2d(x, 2)
        case "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return x


class ResidualBlock(nn.Module):
    """Two normalised convolutions, between which time and class enter, beside a way past them."""

    def __init__(self, step: UnetStep, trunk: UnetSizes) -> None:
        super().__init__()
        self.change, self.scale_shift, self.dropout = step.change, trunk.scale_shift, trunk.dropout
        self.norm1 = GroupNorm(step.into)
        self.conv1 = nn.Conv2d(step.into, step.width, 3, padding=1)
        self.condition = nn.Linear(UNET_CONDITION * trunk.width, (2 if trunk.scale_shift else 1) * step.width)
        self.norm2 = GroupNorm(step.width)
        self.conv2 = nn.Conv2d(step.width, step.width, 3, padding=1)
        self.shortcut = nn.Identity() if step.into == step.width else nn.Conv2d(step.into, step.width, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B, C, H, W]; condition [B, E], silu of time and class."""
        h = self.conv1(resampled(F.silu(self.norm1(x)), self.change))
        told = self.condition(condition)[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.float().chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + told)
        h = self.conv2(F.dropout(F.silu(h), self.dropout, self.training))
        out: Tensor = self.shortcut(resampled(x, self.change)) + h
        return out.to(x.dtype)


class PixelAttention(nn.Module):
    """Attention of every pixel to all, normalised before and added after."""

    def __init__(self, width: int, trial: TrialConfig, trunk: UnetSizes) -> None:
        super().__init__()
        self.heads, self.order, self.mode = width // trunk.head_channels, trunk.attention_order, trial.attention
        self.norm = GroupNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        rows = self.qkv(self.norm(x).flatten(2).transpose(1, 2))
        grouped = (3, self.heads, -1) if self.order == "parts" else (self.heads, 3, -1)
        parts = rows.unflatten(-1, grouped).unbind(-3 if self.order == "parts" else -2)
        q, k, v = (part.transpose(1, 2) for part in parts)
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())  # as in JiT's attention
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.float32 if wide else v.dtype
            out = attend(q.to(dtype), k.to(dtype), v.to(dtype), mode=self.mode)
        added: Tensor = self.proj(out.transpose(1, 2).flatten(2))
        joined: Tensor = x + added.transpose(1, 2).unflatten(-1, x.shape[2:])
        return joined.to(x.dtype)


class Resampling(nn.Module):
    """A single convolution that halves the side, or follows on repeated pixels."""

    def __init__(self, step: UnetStep) -> None:
        super().__init__()
        self.change = step.change
        self.conv = nn.Conv2d(step.into, step.width, 3, stride=2 if step.change == "down" else 1, padding=1)

    def forward(self, x: Tensor, _condition: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / 2 or 2 H, ...]."""
        out: Tensor = self.conv(x if self.change == "down" else resampled(x, "up"))
        return out.to(x.dtype)


class Step(nn.Module):
    """A residual block with the attention that follows it, or a resampling convolution."""

    def __init__(self, step: UnetStep, trial: TrialConfig, trunk: UnetSizes) -> None:
        super().__init__()
        self.takes_skip = step.skip > 0
        self.block = ResidualBlock(step, trunk) if step.residual else Resampling(step)
        self.attention = PixelAttention(step.width, trial, trunk) if step.attends else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor | None, condition: Tensor) -> Tensor:
        """x [B, C, H, W] with what joins it from the way down, where something does."""
        out: Tensor = self.attention(self.block(x if skip is None else torch.cat((x, skip), dim=1), condition))
        return out


class Unet(Network):
    """ADM's U-Net under JiT's conditions: t is told raw, and the last class is the null one."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        trunk, self.trial = trial.model.trunk, trial
        assert isinstance(trunk, UnetTrunk)
        condition = UNET_CONDITION * trunk.width
        self.time = TimeEmbedding(condition, period=trial.model.time_period, features=trunk.width)
        self.label = nn.Embedding(trial.data.num_classes + 1, condition)
        self.first = nn.Conv2d(trial.channels, trunk.width, 3, padding=1)
        steps = layout(trunk, side=trial.canvas.side)
        self.down, self.middle, self.up = (
            nn.ModuleList([Step(step, trial, trunk) for step in part]) for part in (steps.down, steps.middle, steps.up)
        )
        self.norm = GroupNorm(steps.up[-1].width)
        self.last = nn.Conv2d(steps.up[-1].width, trial.channels, 3, padding=1)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null) -> [B, C, H, W]."""
        condition = F.silu(self.time(t) + self.label(y))
        h = in_precision(self, self.first(z))
        kept = [h]
        for step in self.down:
            h = through(self, step, h, None, condition)
            kept.append(h)
        for step in self.middle:
            h = through(self, step, h, None, condition)
        for step in self.up:
            h = through(self, step, h, kept.pop() if step.takes_skip else None, condition)
        output: Tensor = self.last(F.silu(self.norm(h)))
        return output.float()
