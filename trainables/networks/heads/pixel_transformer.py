"""The head of PixelDiT (arXiv 2511.20645): blocks over pixels, whose attention goes from patch to patch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.heads import PixelTransformerHead
from trainables.config.trial import TrialConfig
from trainables.networks.attention import Attention
from trainables.networks.embedding import pixels_of
from trainables.networks.heads.pixels import PixelNorm, image_of_pixels
from trainables.networks.positions import sincos_table
from trainables.networks.sizes import PIXEL_MLP_RATIO


class PixelTransformer(nn.Module):
    """Pixels with their places in the image, blocks, RMSNorm and one linear map to the channels."""

    positions: Tensor

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        head, channels, size = trial.model.head, trial.canvas.channels, trial.canvas.side
        assert isinstance(head, PixelTransformerHead)
        self.patch = trial.model.patch_size
        self.expand = nn.Linear(channels, head.width)
        self.blocks = nn.ModuleList([PixelBlock(trial, head.width) for _ in range(head.blocks)])
        self.norm = PixelNorm(head.width)
        self.last = nn.Linear(head.width, channels)
        table = sincos_table(size, head.width).T.reshape(1, head.width, size, size)
        self.register_buffer("positions", pixels_of(table, self.patch), persistent=False)

    def forward(self, z: Tensor, condition: Tensor, rotation: Tensor | None) -> Tensor:
        """z [B, C, H, W], condition [B, N, D] -> [B, C, H, W]."""
        pixels = self.expand(pixels_of(z, self.patch)).float()
        u = (pixels.unflatten(0, (len(z), -1)) + self.positions).flatten(0, 1)
        for block in self.blocks:
            u = block(u, condition, rotation)
        return image_of_pixels(self.last(self.norm(u)), z, self.patch)


class PixelBlock(nn.Module):
    """Attention over patches, of all their pixels at once, then an MLP over each pixel; both modulated pixel by pixel."""

    def __init__(self, trial: TrialConfig, width: int) -> None:
        super().__init__()
        model, numbers = trial.model, trial.model.patch_size**2 * width
        self.width = width
        self.norm1, self.norm2 = PixelNorm(width), PixelNorm(width)
        self.compress, self.widen = nn.Linear(numbers, model.width), nn.Linear(model.width, numbers)
        self.attention = Attention(model, mode=trial.attention, attn_dropout=0.0, proj_dropout=0.0, kernels=trial.kernels)
        self.first = nn.Linear(width, PIXEL_MLP_RATIO * width)
        self.second = nn.Linear(PIXEL_MLP_RATIO * width, width)
        self.modulation = nn.Linear(model.width, 6 * numbers)

    def forward(self, u: Tensor, condition: Tensor, rotation: Tensor | None) -> Tensor:
        """u float32 [B N, patch^2, width], condition [B, N, D] -> as u."""
        of_pixel = self.modulation(condition).float().view(*u.shape[:2], 6 * self.width)
        shift1, scale1, gate1, shift2, scale2, gate2 = of_pixel.chunk(6, dim=-1)
        h = torch.addcmul(shift1, self.norm1(u), 1 + scale1).view(*condition.shape[:2], -1)
        mixed = self.widen(self.attention(self.compress(h), rotation)).view_as(u).float()
        u = torch.addcmul(u, gate1, mixed)
        h = torch.addcmul(shift2, self.norm2(u), 1 + scale2)
        return torch.addcmul(u, gate2, self.second(F.gelu(self.first(h))).float())
