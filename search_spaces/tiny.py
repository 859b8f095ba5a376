"""Presets of about a million parameters, for 32-pixel images on a CPU: JiT, and each system that stands beside it.

Transformers of patches have blocks of width 96, three or four of them beside a head, and all have one batch. What makes a
system is its own: network, path, prediction, times and loss terms. Of rates of learning a few short trials have told which is
about right.
"""

from typing import Any

from search_spaces.neighbours import FLATTENED, FLOW_OF_PATCHES, LIGHTNING
from trainables.config.average import DecayEma
from trainables.config.diffusion import DiffusionConfig
from trainables.config.fields import Frozen
from trainables.config.heads import DecoupledHead, NeuralFieldHead, PatchUnetHead, PixelMlpHead, PixelTransformerHead
from trainables.config.method import (
    AutoencoderMethod,
    ClassifierMethod,
    DenoiserMethod,
    EncoderPretrainingMethod,
    MaskedTokensMethod,
    Method,
)
from trainables.config.network import LinearEmbedding, ModelConfig
from trainables.config.objective import SigmoidWeighting, WeightedTerm
from trainables.config.optimiser import OptimiserConfig, WarmupShare
from trainables.config.path import KarrasPath, StagedPath
from trainables.config.recipe import Recipe
from trainables.config.times import LogitNormal, ShiftedCosine, Uniform

_SIZES: dict[str, Any] = {
    "patch_size": 16,
    "width": 96,
    "depth": 4,
    "heads": 4,
    "embedding": LinearEmbedding(),
    "class_tokens": 0,
    "class_tokens_start": 1,
}
_DIT: dict[str, Any] = {"norm": "layer", "mlp": "gelu", "rope": False, "qk_norm": False}
_PIXELFLOW: dict[str, Any] = {
    "patch_size": 4,
    "norm": "layer",
    "mlp_norm": "rms",
    "mlp": "gelu",
    "rope_kind": "column_first",
    "qk_norm_kind": "joint",
    "position": "none",
    "time_kind": "clock",
    "size_embedding": True,
}
_EPG: dict[str, Any] = {"patch_size": 4, "position": "none", "rope": False}
_EPG_NOISE = 0.5
"""Side over 64 pixels."""
_UNIFORM_V = DiffusionConfig(prediction="v", t_sampling=Uniform())
_AT_64 = ShiftedCosine(shift=2.0)
"""Simple diffusion's schedule is for 64 px: at 32 px its noise is less."""
_UNET: dict[str, Any] = {"width": 32, "blocks": 1, "attention": (4,)}
_UVIT: dict[str, Any] = {"width": 32, "multipliers": (1, 2), "depth": 2, "patch": 4}


def _tiny(
    diffusion: DiffusionConfig | None = None,
    *,
    method: Method | None = None,
    rate: float = 2e-3,
    weight_decay: float = 0.0,
    grad_clip: float | None = 1.0,
    **model: Any,
) -> Recipe:
    """What differs from JiT's network, trained so."""
    parts = {name: part.model_dump() if isinstance(part, Frozen) else part for name, part in {**_SIZES, **model}.items()}
    return Recipe(
        model=ModelConfig.model_validate(parts),
        method=method or DenoiserMethod(),
        diffusion=diffusion or DiffusionConfig(),
        optimiser=OptimiserConfig(
            learning_rate=rate,
            warmup_images=WarmupShare(share=1 / 16),
            weight_decay=weight_decay,
            grad_clip=grad_clip,
        ),
        ema=(DecayEma(decay=0.995),),
        batch_size=32,
        precision="fp32",
    )


def _flow(**changes: Any) -> DiffusionConfig:
    return DiffusionConfig.model_validate({**FLOW_OF_PATCHES.model_dump(), **changes})


def _staged(**path: Any) -> DiffusionConfig:
    """Four stages, from one patch of 4 pixels on, or of as many blurs: a batch holds equal shares of them."""
    return DiffusionConfig.model_validate({**_UNIFORM_V.model_dump(), "path": StagedPath(stages=4, **path).model_dump()})


TINY: dict[str, Recipe] = {
    "jit-tiny": _tiny(grad_clip=None),
    "dit-tiny": _tiny(_UNIFORM_V, **_DIT),
    "lightningdit-tiny": _tiny(_flow(terms=(WeightedTerm(kind="cosine"),)), **LIGHTNING),
    "ddt-tiny": _tiny(_flow(), **{**FLATTENED, "depth": 3}, head=DecoupledHead(blocks=1)),
    "pixnerd-tiny": _tiny(_flow(), rate=4e-3, **FLATTENED, head=NeuralFieldHead()),
    "deco-tiny": _tiny(_flow(terms=(WeightedTerm(kind="frequency"),)), rate=4e-3, **FLATTENED, head=PixelMlpHead()),
    "pixeldit-tiny": _tiny(_flow(), rate=4e-3, **{**FLATTENED, "adaln_start": "zero"}, head=PixelTransformerHead()),
    "dip-tiny": _tiny(_flow(), rate=4e-3, **FLATTENED, head=PatchUnetHead()),
    "adm-tiny": _tiny(_UNIFORM_V, rate=2e-3, trunk={"kind": "unet", "multipliers": (1, 1, 1), **_UNET}),
    "simple-diffusion-tiny": _tiny(
        DiffusionConfig(prediction="v", loss="eps", t_sampling=_AT_64, terms=(WeightedTerm(kind="multiscale"),)),
        trunk={"kind": "uvit", **_UVIT},
    ),
    "sid2-tiny": _tiny(
        DiffusionConfig(prediction="v", t_sampling=_AT_64, weighting=SigmoidWeighting()),
        trunk={"kind": "residual_uvit", **_UVIT},
    ),
    "pixelflow-tiny": _tiny(_staged(), rate=4e-3, **_PIXELFLOW),
    "pyramidal-flow-tiny": _tiny(_staged(noise="halved"), rate=4e-3, **_DIT, patch_size=4, size_embedding=True),
    "fdm-tiny": _tiny(_staged(transform="blur"), rate=4e-3, trunk={"kind": "transformer"}, patch_size=4),
    "epg-tiny": _tiny(
        DiffusionConfig(path=KarrasPath(), noise_scale=_EPG_NOISE, t_sampling=LogitNormal(mu=1.2, sigma=1.6), loss="x"),
        rate=1e-3,
        trunk={"kind": "encoder_decoder"},
        **_EPG,
    ),
    "epg-pretraining-tiny": _tiny(
        DiffusionConfig(noise_scale=_EPG_NOISE),
        method=EncoderPretrainingMethod(doubling_images=2048),
        rate=1e-3,
        trunk={"kind": "encoder_pretrainer", "projector_width": 256, "projected_width": 64},
        **_EPG,
    ),
    "autoencoder-tiny": _tiny(method=AutoencoderMethod(), trunk={"kind": "autoencoder", "width": 32, "multipliers": (1, 1, 1)}),
    "classifier-tiny": _tiny(
        method=ClassifierMethod(),
        rate=1e-3,
        weight_decay=0.05,
        trunk={"kind": "unet_classifier", "multipliers": (1, 2, 2), **_UNET},
    ),
    "mar-tiny": _tiny(
        method=MaskedTokensMethod(),
        rate=1e-3,
        patch_size=4,
        trunk={"kind": "masked_autoencoder", "decoder_depth": 2, "class_copies": 4, "head_width": 96, "head_blocks": 2},
    ),
}
"""By name."""
