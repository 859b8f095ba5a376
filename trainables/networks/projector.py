"""What the loss term `representation` trains beside a network: its tokens in the width of a teacher's (arXiv 2410.06940)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Projector(nn.Module):
    """Three linear maps with SiLU between."""

    def __init__(self, width: int, *, hidden: int, teacher: int) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, teacher)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, the teacher's width]."""
        projected: Tensor = self.third(F.silu(self.second(F.silu(self.first(tokens)))))
        return projected
