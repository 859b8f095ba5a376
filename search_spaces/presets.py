"""Named starting points.

JiT sizes and defaults: arXiv 2511.13720, table 9 and the official code. DiT sizes: arXiv 2212.09748, table 1.
"""

from typing import Any

from search_spaces.neighbours import NEIGHBOURS
from search_spaces.tiny import TINY
from trainables.config.average import DecayEma
from trainables.config.diffusion import DiffusionConfig
from trainables.config.network import LinearEmbedding, ModelConfig
from trainables.config.optimiser import OptimiserConfig, WarmupEpochs, WarmupShare
from trainables.config.recipe import Recipe
from trainables.config.spelling import nearest_name
from trainables.config.times import LogitNormal, Uniform

OFFICIAL_WARMUP = WarmupEpochs(epochs=5)
SHORT_WARMUP = WarmupShare(share=0.025)
"""As much of a budget as 5 of the paper's 200 epochs."""
_JIT_SIZES: dict[str, dict[str, Any]] = {
    "s": {"width": 384, "depth": 12, "heads": 6, "class_tokens_start": 4},
    "b": {"width": 768, "depth": 12, "heads": 12, "class_tokens_start": 4},
    "l": {"width": 1024, "depth": 24, "heads": 16, "class_tokens_start": 8},
    "h": {"width": 1280, "depth": 32, "heads": 16, "class_tokens_start": 10, "proj_dropout": 0.2},
    "g": {"width": 1664, "depth": 40, "heads": 16, "class_tokens_start": 10, "proj_dropout": 0.2},
}
_DIT_SIZES: dict[str, dict[str, Any]] = {
    "s": {"width": 384, "depth": 12, "heads": 6},
    "b": {"width": 768, "depth": 12, "heads": 12},
    "l": {"width": 1024, "depth": 24, "heads": 16},
    "xl": {"width": 1152, "depth": 28, "heads": 16},
}
_PLAIN: dict[str, Any] = {"norm": "layer", "mlp": "gelu", "rope": False, "qk_norm": False, "class_tokens": 0}
_LADDER: dict[str, dict[str, Any]] = {
    "plain": _PLAIN,
    "swiglu": {"rope": False, "qk_norm": False, "class_tokens": 0},
    "rope": {"class_tokens": 0},
}
"""The rungs below the full model in the paper's table 4: each adds to the one before."""


JIT_AVERAGES = (
    DecayEma(name="ema1", decay=0.9999),
    DecayEma(name="ema2", decay=0.9996),
)
"""The official code's decays; with a warm-up, which a trial of fewer than 100,000 updates needs."""
OFFICIAL_NOISE = {256: 1.0, 512: 2.0}
"""The official noise_scale by resolution."""
_OFFICIAL_PATCH = {256: 16, 512: 32}


def _jit(size: str, **parts: Any) -> Recipe:
    bottleneck = {"kind": "bottleneck", "dim": 256 if size in ("h", "g") else 128}
    model = ModelConfig.model_validate({"patch_size": 16, "embedding": bottleneck, **_JIT_SIZES[size], **parts})
    optimiser = OptimiserConfig(learning_rate=5e-5, scale_with_batch=True, warmup_images=SHORT_WARMUP)
    return Recipe(model=model, optimiser=optimiser, ema=JIT_AVERAGES)


def _official(size: str, resolution: int) -> Recipe:
    """As the official code trains it: a warm-up in epochs of the data, and averages that are constant from the start."""
    short = _jit(size, patch_size=_OFFICIAL_PATCH[resolution])
    changes = {
        "diffusion": DiffusionConfig(noise_scale=OFFICIAL_NOISE[resolution]),
        "optimiser": short.optimiser.model_copy(update={"warmup_images": OFFICIAL_WARMUP}),
        "ema": tuple(average.model_copy(update={"warmup": False}) for average in JIT_AVERAGES),
    }
    return short.model_copy(update=changes)


def _dit(size: str) -> Recipe:
    """The transformer that JiT argues with, trained as a flow (SiT): v-prediction and uniform t."""
    model = ModelConfig(patch_size=2, embedding=LinearEmbedding(), **_PLAIN, **_DIT_SIZES[size])
    diffusion = DiffusionConfig(prediction="v", t_sampling=Uniform())
    return Recipe(model=model, diffusion=diffusion, optimiser=OptimiserConfig(learning_rate=1e-4, beta2=0.999), batch_size=256)


def _toy() -> Recipe:
    """The paper's toy (figure 2): an MLP of five layers and 256 units on points lifted to 512 dimensions."""
    plain = {**_PLAIN, "position": "none", "trunk": "mlp"}
    model = ModelConfig(patch_size=1, width=256, depth=5, heads=1, embedding=LinearEmbedding(), **plain)
    return Recipe(
        model=model,
        diffusion=DiffusionConfig(dimensions=512, noise_scale=0.5, t_sampling=LogitNormal(mu=0.0, sigma=1.0)),
        optimiser=OptimiserConfig(learning_rate=2e-3, warmup_images=WarmupShare(share=1 / 16)),
        ema=(DecayEma(decay=0.995),),
        batch_size=128,
        precision="fp32",
    )


PRESETS: dict[str, Recipe] = {
    "toy": _toy(),
    **TINY,
    **{f"jit-{size}": _jit(size) for size in _JIT_SIZES},
    **{f"jit-{size}-{rung}": _jit(size, **parts) for size in ("b", "l") for rung, parts in _LADDER.items()},
    **{f"dit-{size}": _dit(size) for size in _DIT_SIZES},
    **NEIGHBOURS,
}


OFFICIAL: dict[str, Recipe] = {
    f"jit-{size}/{_OFFICIAL_PATCH[resolution]}@{resolution}": _official(size, resolution)
    for size in "blhg"
    for resolution in OFFICIAL_NOISE
}
"""The paper's runs by size, patch and resolution."""


def preset(name: str) -> Recipe:
    """The recipe of a name such as `jit-b`, `jit-b/32` for another patch size, or `jit-b/16@256` for the official run.

    ValueError: unknown name.
    """
    if name in OFFICIAL:
        return OFFICIAL[name]
    base, _, patch = name.partition("/")
    if base not in PRESETS or (patch and not patch.isdecimal()):
        raise ValueError(_unknown(name))
    recipe = PRESETS[base]
    if not patch:
        return recipe
    return Recipe.model_validate(merged(recipe.model_dump(), {"model": {"patch_size": int(patch)}}))


def nearest_preset(name: str) -> str | None:
    """The name that a mistyped one probably stood for; None where none is alike.

    An official run of the same size is nearer than another size's, and a patch that can be read is kept.
    """
    base, _, rest = name.partition("/")
    size = base if base in PRESETS else nearest_name(base, PRESETS)
    if size is None or not rest:
        return size
    runs = [run for run in OFFICIAL if run.startswith(f"{size}/")]
    if "@" in rest and (run := nearest_name(f"{size}/{rest}", runs)):
        return run
    patch = rest.partition("@")[0]
    return f"{size}/{patch}" if patch.isdecimal() else size


def _unknown(name: str) -> str:
    meant = nearest_preset(name)
    if meant is not None:
        return f"`preset` must be a known one, got {name!r}; did you mean {meant!r}?"
    every = ", ".join([*PRESETS, *OFFICIAL])
    return f"`preset` must be a known one, got {name!r}; try one of {every} (and /PATCH after one without)"


def resolution_of(name: str) -> int | None:
    """The image size that a preset's name is for; None of one for any."""
    return int(name.rpartition("@")[2]) if name in OFFICIAL else None


def official_at(name: str, size: int) -> str | None:
    """The official run of a JiT preset's size, such as `jit-l/32@512` of `jit-l` and `jit-l-rope`; None where there is none."""
    base = "-".join(name.partition("/")[0].split("-")[:2])
    return next((run for run in OFFICIAL if run.startswith(f"{base}/") and resolution_of(run) == size), None)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A nested mapping with some of its leaves replaced; a mapping that names another `kind` replaces whole."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        same_kind = (
            isinstance(below, dict) and isinstance(value, dict) and value.get("kind", below.get("kind")) == below.get("kind")
        )
        result[key] = merged(below, value) if same_kind else value  # type: ignore[arg-type]
    return result
