"""Presets of the networks beside JiT, in their published sizes: PixNerd, DDT, DeCo, PixelDiT, DiP, LightningDiT, PixelFlow,
EPG, ADM, latent diffusion's autoencoders and MAR.

A flow in our t (t = 1 is data), or stages of one, with v-prediction, or EPG's noise levels, as their papers train it. What
else their recipes have is in no preset.
"""

from typing import Any

from trainables.config.autoencoder import AutoencoderTrunk
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
from trainables.config.masked import MaskedTrunk
from trainables.config.method import AutoencoderMethod, ClassifierMethod, EncoderPretrainingMethod, MaskedTokensMethod
from trainables.config.network import LinearEmbedding, ModelConfig
from trainables.config.optimiser import OptimiserConfig
from trainables.config.path import KarrasPath, StagedPath
from trainables.config.recipe import Recipe
from trainables.config.times import LogitNormal, Uniform
from trainables.config.trunks import EncoderDecoderTrunk, EncoderPretrainerTrunk, UnetClassifierTrunk, UnetTrunk

FLATTENED: dict[str, Any] = {
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
LIGHTNING: dict[str, Any] = {
    "position": "sincos",
    "bias": True,
    "rope_kind": "axial",
    "time_period": 10_000.0,
    "adaln_start": "zero",
    "block_start": "xavier",
    "qk_norm": False,
}
"""LightningDiT's own trunk: JiT's without q/k-norm and class tokens."""
FLOW_OF_PATCHES = DiffusionConfig(prediction="v", t_sampling=LogitNormal(mu=0.0, sigma=1.0), t_eps_train=0.0)
_XL: dict[str, Any] = {"width": 1152, "heads": 16}
_L: dict[str, Any] = {"width": 1024, "heads": 16}


def _recipe(head: Frozen, *, patch_size: int = 16, **model: Any) -> Recipe:
    network = ModelConfig.model_validate({**FLATTENED, "patch_size": patch_size, "head": head.model_dump(), **model})
    return Recipe(
        model=network, diffusion=FLOW_OF_PATCHES, optimiser=OptimiserConfig(learning_rate=1e-4, beta2=0.999), batch_size=256
    )


def _of_pixels(trunk: Frozen) -> Recipe:
    """A network that sees no patches. The transformer that stands beside it is JiT-S, for who changes the trunk alone."""
    model = ModelConfig.model_validate(
        {"patch_size": 16, "width": 384, "depth": 12, "heads": 6, "class_tokens": 0, "trunk": trunk.model_dump()}
    )
    diffusion = DiffusionConfig(prediction="v", t_sampling=Uniform(), t_eps_train=0.0)
    return Recipe(model=model, diffusion=diffusion, optimiser=OptimiserConfig(learning_rate=1e-4, beta2=0.999), batch_size=256)


def _pixelflow() -> Recipe:
    """Stages from an eighth of the side on, which the network tells apart by their time and their grid."""
    model = ModelConfig(
        patch_size=4,
        depth=28,
        embedding=LinearEmbedding(),
        norm="layer",
        mlp_norm="rms",
        mlp="gelu",
        rope_kind="column_first",
        qk_norm_kind="joint",
        position="none",
        class_tokens=0,
        time_kind="clock",
        size_embedding=True,
        **_XL,
    )
    diffusion = DiffusionConfig(prediction="v", t_sampling=Uniform(), t_eps_train=0.0, path=StagedPath(stages=4))
    optimiser = OptimiserConfig(learning_rate=1e-4, beta2=0.999, grad_clip=1.0)
    return Recipe(model=model, diffusion=diffusion, optimiser=optimiser, batch_size=256)


_ADM_64 = UnetTrunk(width=192, multipliers=(1, 2, 3, 4), blocks=3, attention=(2, 4, 8), head_channels=64, dropout=0.1)
_ADM_256 = UnetTrunk(width=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(8, 16, 32), head_channels=64)


def _epg() -> Recipe:
    """At 256 px, whose noise it scales by 256 / 64. No text says how many heads the decoder has: here heads of 72, as wide as
    other transformers' of this size."""
    model = ModelConfig(
        patch_size=16,
        width=768,
        depth=12,
        heads=12,
        position="none",
        rope=False,
        class_tokens=0,
        trunk=EncoderDecoderTrunk(decoder_width=1584, decoder_heads=22),
    )
    diffusion = DiffusionConfig(path=KarrasPath(), noise_scale=4.0, t_sampling=LogitNormal(mu=1.2, sigma=1.6), loss="x")
    optimiser = OptimiserConfig(learning_rate=1e-4, beta2=0.999, weight_decay=0.01, grad_clip=0.5)
    return Recipe(model=model, diffusion=diffusion, optimiser=optimiser, batch_size=256)


def _epg_pretraining() -> Recipe:
    """Its first stage, in the paper 614 million images long."""
    second = _epg()
    trunk = EncoderPretrainerTrunk().model_dump()
    model = ModelConfig.model_validate({**second.model.model_dump(), "trunk": trunk})
    optimiser = OptimiserConfig(learning_rate=2e-4, beta2=0.999, weight_decay=0.03)
    diffusion = DiffusionConfig(noise_scale=second.diffusion.noise_scale)
    changes = {"model": model, "method": EncoderPretrainingMethod(), "diffusion": diffusion, "optimiser": optimiser}
    return second.model_copy(update={**changes, "batch_size": 1024})


def _classifier() -> Recipe:
    """What guides ADM at 256 px, without its random crops."""
    trunk = UnetClassifierTrunk(width=128, multipliers=_ADM_256.multipliers, attention=(8, 16, 32), head_channels=64)
    plain = _of_pixels(trunk)
    optimiser = OptimiserConfig(learning_rate=3e-4, beta2=0.999, weight_decay=0.05)
    return plain.model_copy(update={"method": ClassifierMethod(), "optimiser": optimiser})


def _autoencoder(**trunk: Any) -> Recipe:
    """What latent diffusion trains first, without its perceptual term and its adversary."""
    whole = AutoencoderTrunk.model_validate(trunk)
    model = ModelConfig.model_validate(
        {"patch_size": 16, "width": 384, "depth": 12, "heads": 6, "class_tokens": 0, "trunk": whole.model_dump()}
    )
    method, optimiser = AutoencoderMethod(squared=0.0), OptimiserConfig(learning_rate=5e-5, beta1=0.5, beta2=0.9)
    return Recipe(model=model, method=method, optimiser=optimiser, batch_size=12)


def _mar(head_width: int, head_blocks: int, **sizes: int) -> Recipe:
    """For codes of 16 channels, a token each; of pixels give it a patch, as in mar-b/16."""
    trunk = MaskedTrunk(head_width=head_width, head_blocks=head_blocks, dropout=0.1)
    model = ModelConfig.model_validate({"patch_size": 1, "class_tokens": 0, **sizes, "trunk": trunk.model_dump()})
    optimiser = OptimiserConfig(learning_rate=1e-4, scale_with_batch=True, weight_decay=0.02, grad_clip=3.0)
    return Recipe(model=model, method=MaskedTokensMethod(), optimiser=optimiser, batch_size=2048)


NEIGHBOURS: dict[str, Recipe] = {
    "pixnerd-l": _recipe(NeuralFieldHead(width=64, blocks=2), depth=22, **_L),
    "pixnerd-xl": _recipe(NeuralFieldHead(width=64, blocks=4), depth=26, **_XL),
    "ddt-xl": _recipe(DecoupledHead(blocks=6), patch_size=2, depth=22, **_XL),
    "deco-l": _recipe(PixelMlpHead(width=32, blocks=3), depth=22, **_L),
    "deco-xl": _recipe(PixelMlpHead(width=32, blocks=3), depth=28, **_XL),
    "pixeldit-xl": _recipe(PixelTransformerHead(width=16, blocks=4), depth=26, adaln_start="zero", **_XL),
    "dip-xl": _recipe(PatchUnetHead(width=64), depth=26, **_XL),
    "lightningdit-xl": _recipe(LinearHead(), patch_size=1, depth=28, **LIGHTNING, **_XL),
    "pixelflow-xl": _pixelflow(),
    "epg-xl": _epg(),
    "epg-pretraining-xl": _epg_pretraining(),
    "ldm-kl-f8": _autoencoder(width=128, multipliers=(1, 2, 4, 4), blocks=2),
    "ldm-vq-f4": _autoencoder(
        width=128, multipliers=(1, 2, 4), blocks=2, code_channels=3, code={"kind": "vq", "entries": 8192}
    ),
    "mar-b": _mar(1024, 6, width=768, depth=12, heads=12),
    "mar-l": _mar(1280, 8, width=1024, depth=16, heads=16),
    "mar-h": _mar(1536, 12, width=1280, depth=20, heads=16),
    "adm-64": _of_pixels(_ADM_64),
    "adm-256": _of_pixels(_ADM_256),
    "adm-classifier-256": _classifier(),
}
"""By name."""
