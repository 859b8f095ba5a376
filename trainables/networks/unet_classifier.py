"""ADM's classifier of noisy images (arXiv 2105.05233, section 4): the way down of its U-Net, and a pool of what is there."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetClassifierTrunk
from trainables.networks.attention import attend
from trainables.networks.embedding import TimeEmbedding
from trainables.networks.network import Network, in_precision, through
from trainables.networks.sizes import UNET_CONDITION
from trainables.networks.unet import GroupNorm, Step
from trainables.networks.unet_layout import layout


class MeanPool(nn.Module):
    """The mean over the places."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C]."""
        return x.mean(dim=(2, 3))


class AttentionPool(nn.Module):
    """What the places' mean reads of itself and of each place, which have learned positions (CLIP, arXiv 2103.00020)."""

    def __init__(self, width: int, places: int, trial: TrialConfig, trunk: UnetClassifierTrunk) -> None:
        super().__init__()
        self.heads, self.mode = width // trunk.head_channels, trial.attention
        self.position = nn.Parameter(torch.zeros(places + 1, width))
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C]. Its rows are ordered q, k, v, whatever the order of the other attentions."""
        places = x.flatten(2).transpose(1, 2)
        tokens = torch.cat((places.mean(dim=1, keepdim=True), places), dim=1) + self.position
        q, k, v = (part.transpose(1, 2) for part in self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(-3))
        wide = self.mode == "fp32" or (not x.is_cuda and torch.is_grad_enabled())  # as in JiT's attention
        with torch.autocast(x.device.type, enabled=False):
            dtype = torch.float32 if wide else v.dtype
            out = attend(q[:, :, :1].to(dtype), k.to(dtype), v.to(dtype), mode=self.mode)
        return out.flatten(1)


class UnetClassifier(Network):
    """The classes' logits from z and t, which is told raw as JiT tells it; it is told no class."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        trunk, self.trial = trial.model.trunk, trial
        assert isinstance(trunk, UnetClassifierTrunk)
        self.time = TimeEmbedding(UNET_CONDITION * trunk.width, period=trial.model.time_period, features=trunk.width)
        self.first = nn.Conv2d(trial.channels, trunk.width, 3, padding=1)
        steps = layout(trunk, side=trial.canvas.side)
        self.down, self.middle = (
            nn.ModuleList([Step(step, trial, trunk) for step in part]) for part in (steps.down, steps.middle)
        )
        width, side = steps.middle[-1].width, steps.middle[-1].side
        self.norm = GroupNorm(width)
        self.pool = AttentionPool(width, side**2, trial, trunk) if trunk.pool == "attention" else MeanPool()
        self.last = nn.Linear(width, trial.data.num_classes)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, _y: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1] -> logits float32 [B, num_classes]."""
        condition = F.silu(self.time(t))
        h = in_precision(self, self.first(z))
        for step in (*self.down, *self.middle):
            h = through(self, step, h, None, condition)
        logits: Tensor = self.last(self.pool(F.silu(self.norm(h))))
        return logits.float()
