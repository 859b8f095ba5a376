"""The head of DeCo (arXiv 2511.19365): an MLP over each pixel, modulated by a condition of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.heads import PixelMlpHead
from trainables.config.trial import TrialConfig
from trainables.networks.heads.pixels import PixelFeatures, image_of_pixels
from trainables.networks.norm import EPS


class PixelMlp(nn.Module):
    """Pixel features, residual MLPs modulated pixel by pixel, and one linear map to the channels."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        head, channels = trial.model.head, trial.canvas.channels
        assert isinstance(head, PixelMlpHead)
        self.patch = trial.model.patch_size
        self.features = PixelFeatures(channels=channels, patch=self.patch, width=head.width)
        self.project = nn.Linear(head.width, head.width)
        self.condition = nn.Linear(trial.model.width, self.patch**2 * head.width)
        self.blocks = nn.ModuleList([PixelMlpBlock(head.width) for _ in range(head.blocks)])
        self.last = nn.Linear(head.width, channels)

    def forward(self, z: Tensor, condition: Tensor, _rotation: Tensor | None) -> Tensor:
        """z [B, C, H, W], condition [B, N, D] -> [B, C, H, W]."""
        u = self.project(self.features(z)).float()
        of_pixel = F.silu(self.condition(condition.flatten(0, 1)).unflatten(-1, (self.patch**2, -1)))
        for block in self.blocks:
            u = block(u, of_pixel)
        return image_of_pixels(self.last(F.layer_norm(u, u.shape[-1:], eps=EPS)), z, self.patch)


class PixelMlpBlock(nn.Module):
    """u + gate MLP(norm(u) (1 + scale) + shift), all three of the pixel's condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, u: Tensor, condition: Tensor) -> Tensor:
        """u float32 [B N, patch^2, width], condition of that shape -> as u."""
        shift, scale, gate = self.modulation(condition).float().chunk(3, dim=-1)
        h = torch.addcmul(shift, self.norm(u), 1 + scale)
        return torch.addcmul(u, gate, self.second(F.silu(self.first(h))).float())
