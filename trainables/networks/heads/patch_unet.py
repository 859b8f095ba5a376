"""The head of DiP (arXiv 2511.18822): a small U-Net on each noisy patch, which meets the token at its bottom."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.heads import PatchUnetHead
from trainables.config.trial import TrialConfig
from trainables.networks.embedding import images_of, pixels_of
from trainables.networks.sizes import unet_levels


class PatchUnet(nn.Module):
    """Convolutions and max-pooling down to one pixel a patch, and transposed convolutions back up beside what came down."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        head, channels = trial.model.head, trial.canvas.channels
        assert isinstance(head, PatchUnetHead)
        self.patch, self.channels = trial.model.patch_size, channels
        levels = unet_levels(self.patch, width=head.width, channels=channels)
        deepest = levels[-1].width if levels else channels
        bottom = levels[-1].width if levels else head.width
        self.pools = [level.pool for level in levels]
        self.down = nn.ModuleList([nn.Conv2d(level.before, level.width, 3, padding=1) for level in levels])
        self.bottom = nn.Conv2d(deepest + trial.model.width, bottom, 1)
        self.up = nn.ModuleList([nn.ConvTranspose2d(level.width, level.width, level.pool, level.pool) for level in levels])
        self.merge = nn.ModuleList([nn.Conv2d(2 * level.width, level.after, 3, padding=1) for level in levels])
        self.last = nn.Conv2d(head.width, channels, 1)

    def forward(self, z: Tensor, condition: Tensor, _rotation: Tensor | None) -> Tensor:
        """z [B, C, H, W], condition [B, N, D] -> [B, C, H, W]."""
        h = pixels_of(z, self.patch).transpose(1, 2).unflatten(-1, (self.patch, self.patch))
        kept: list[Tensor] = []
        for conv, pool in zip(self.down, self.pools, strict=True):
            kept.append(F.silu(conv(h)))
            h = F.max_pool2d(kept[-1], pool)
        token = condition.flatten(0, 1)[:, :, None, None].to(h.dtype)
        h = F.silu(self.bottom(torch.cat((h, token), dim=1)))
        for up, merge, beside in zip(reversed(self.up), reversed(self.merge), reversed(kept), strict=True):
            h = F.silu(merge(torch.cat((up(h), beside), dim=1)))
        patches = self.last(h).permute(0, 2, 3, 1).reshape(len(z), condition.shape[1], -1)
        return images_of(patches, self.patch, self.channels)
