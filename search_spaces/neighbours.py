"""Presets of the networks beside JiT, in their published sizes: PixNerd, DDT, DeCo, PixelDiT, DiP and LightningDiT.

A flow in our t (t = 1 is data) with v-prediction, as their papers train it. What else their recipes have is in no
preset.
"""

from typing import Any

from trainables.config.diffusion import DiffusionConfig
from trainables.config.fields import Frozen
from trainables.config.heads import (
    DecoupledHead,
    LinearHead,
    NeuralFieldHead,
    PatchUnetHead,
    PixelMlpHead,
    PixelTransformerHead,
)
from trainables.config.network import LinearEmbedding, ModelConfig
from trainables.config.optimiser import OptimiserConfig
from trainables.config.recipe import Recipe
from trainables.config.times import LogitNormal

_FLATTENED: dict[str, Any] = {
    "embedding": LinearEmbedding(),
    "position": "none",
    "class_tokens": 0,
    "bias": False,
    "rope_kind": "alternating",
    "time_period": 10.0,
    "adaln_start": "torch",
    "block_start": "torch",
}
"""The trunk that PixNerd, DDT, DeCo, DiP and PixelDiT share."""
_LIGHTNING: dict[str, Any] = {
    "position": "sincos",
    "bias": True,
    "rope_kind": "axial",
    "time_period": 10_000.0,
    "adaln_start": "zero",
    "block_start": "xavier",
    "qk_norm": False,
}
"""LightningDiT's own trunk: JiT's without q/k-norm and class tokens."""
_FLOW = DiffusionConfig(prediction="v", t_sampling=LogitNormal(mu=0.0, sigma=1.0), t_eps_train=0.0)
_XL: dict[str, Any] = {"width": 1152, "heads": 16}
_L: dict[str, Any] = {"width": 1024, "heads": 16}


def _recipe(head: Frozen, *, patch_size: int = 16, **model: Any) -> Recipe:
    network = ModelConfig.model_validate({**_FLATTENED, "patch_size": patch_size, "head": head.model_dump(), **model})
    return Recipe(model=network, diffusion=_FLOW, optimiser=OptimiserConfig(learning_rate=1e-4, beta2=0.999), batch_size=256)


NEIGHBOURS: dict[str, Recipe] = {
    "pixnerd-l": _recipe(NeuralFieldHead(width=64, blocks=2), depth=22, **_L),
    "pixnerd-xl": _recipe(NeuralFieldHead(width=64, blocks=4), depth=26, **_XL),
    "ddt-xl": _recipe(DecoupledHead(blocks=6), patch_size=2, depth=22, **_XL),
    "deco-l": _recipe(PixelMlpHead(width=32, blocks=3), depth=22, **_L),
    "deco-xl": _recipe(PixelMlpHead(width=32, blocks=3), depth=28, **_XL),
    "pixeldit-xl": _recipe(PixelTransformerHead(width=16, blocks=4), depth=26, adaln_start="zero", **_XL),
    "dip-xl": _recipe(PatchUnetHead(width=64), depth=26, **_XL),
    "lightningdit-xl": _recipe(LinearHead(), patch_size=1, depth=28, **_LIGHTNING, **_XL),
}
"""By name."""
