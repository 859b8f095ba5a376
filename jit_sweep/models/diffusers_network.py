"""The network of a jit-sweep model as a component of a diffusers pipeline; needs jit-sweep installed."""

from pathlib import Path
from typing import Any

from diffusers import ModelMixin
from torch import Tensor

from jit_sweep.models.model_folder import load_guide, load_network, read_config


class JitSweepNetwork(ModelMixin):
    """o(z, t, y), with the configuration that it was trained and scored by."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.settings, self.network, self.guide = read_config(folder), load_network(folder), load_guide(folder)

    @classmethod
    def from_pretrained(cls, folder: str, **_: Any) -> "JitSweepNetwork":
        """Read a model's folder, in the precision that it was trained in."""
        return cls(Path(folder))

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1] with data at 1, y int64 [B] -> [B, C, H, W]."""
        output: Tensor = self.network(z, t, y)
        return output
