"""The head of PixNerd (arXiv 2507.23268): each token makes the weights of an MLP over the pixels of its patch."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.heads import NeuralFieldHead
from trainables.config.trial import TrialConfig
from trainables.networks.heads.pixels import PixelFeatures, PixelNorm, image_of_pixels

LEAST_NORM = 1e-12
"""A column of a generated matrix is divided by no smaller norm."""


class NeuralField(nn.Module):
    """Pixel features, residual MLPs whose weights come from the condition, and one linear map to the channels."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        head, channels = trial.model.head, trial.canvas.channels
        assert isinstance(head, NeuralFieldHead)
        self.patch = trial.model.patch_size
        self.features = PixelFeatures(channels=channels, patch=self.patch, width=head.width)
        self.blocks = nn.ModuleList([FieldBlock(trial.model.width, head) for _ in range(head.blocks)])
        self.norm = PixelNorm(head.width)
        self.last = nn.Linear(head.width, channels)

    def forward(self, z: Tensor, condition: Tensor, _rotation: Tensor | None) -> Tensor:
        """z [B, C, H, W], condition [B, N, D] -> [B, C, H, W]."""
        u, of_patch = self.features(z).float(), condition.flatten(0, 1)
        for block in self.blocks:
            u = block(u, of_patch)
        return image_of_pixels(self.last(self.norm(u)), z, self.patch)


class FieldBlock(nn.Module):
    """u + silu(rms(u) W1) W2, both matrices of the patch's condition, their columns of length one."""

    def __init__(self, width: int, head: NeuralFieldHead) -> None:
        super().__init__()
        self.width, self.hidden = head.width, head.width * head.ratio
        self.matrices = nn.Linear(width, 2 * self.width * self.hidden)
        self.norm = PixelNorm(head.width)

    def forward(self, u: Tensor, condition: Tensor) -> Tensor:
        """u float32 [B N, patch^2, width], condition [B N, D] -> as u."""
        first, second = self.matrices(condition).chunk(2, dim=-1)
        widen, narrow = first.unflatten(-1, (self.width, self.hidden)), second.unflatten(-1, (self.hidden, self.width))
        hidden = F.silu(self.norm(u) @ unit_columns(widen))
        return u + hidden @ unit_columns(narrow)


def unit_columns(matrix: Tensor) -> Tensor:
    """Every column over its length, [..., rows, columns]."""
    return F.normalize(matrix.float(), dim=-2, eps=LEAST_NORM)
