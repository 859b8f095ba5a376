"""A network whose passes are replayed as CUDA graphs while images are drawn."""

import torch
from torch import Tensor, nn

from trainables.cuda_graphs import Recorder, Recording


class Replayed(nn.Module):
    """o(z, t, y) of a network, its kernels recorded once for each number of images.

    For as long as neither its weights nor its mode change, and under one autocast, whose copies of the weights it reads.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self._recorder = Recorder(device)
        self._passes: dict[int, Recording[Tensor]] = {}

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """z [B, C, H, W], t [B], y [B] -> [B, C, H, W]."""
        count = len(z)
        if count not in self._passes:
            self._recorder.warm(self.network, z, t, y)
            self._passes[count] = self._recorder.record(self.network, z, t, y)
        # Its place is the next pass's, and a velocity outlives the pass.
        return self._passes[count].replay(z, t, y).clone()
