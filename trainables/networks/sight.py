"""How a frozen teacher's tokens of images come into a loss: a module without weights beside the network."""

from collections.abc import Callable

from torch import Tensor, nn


class Sight(nn.Module):
    """Images as a teacher sees them. The teacher is no part of it, so that nobody trains, averages or saves its weights."""

    look: Callable[[Tensor], Tensor] | None = None
    """From images float32 [B, C, H, W] around [-1, 1] to tokens [B, N, W]; set where a network is trained."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, the teacher's width]."""
        assert self.look is not None, "set where a step is made"
        return self.look(images)
