"""The official code's settings as a trial of ours, and back.

The settings are what a checkpoint's `args` say and the official code's defaults where they say nothing; the sizes are the
tensors'.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from jit_sweep.models.model_folder import ModelFolderConfig
from search_spaces.presets import JIT_AVERAGES, OFFICIAL_WARMUP, PRESETS, preset
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig, Sampling
from trainables.config.fields import MOST
from trainables.config.network import ModelConfig
from trainables.config.recipe import Recipe
from trainables.config.times import LogitNormal
from trainables.config.trial import DataConfig
from trainables.networks.sizes import mlp_hidden
from trainables.official.shapes import Sizes
from trainables.official.words import Scalar

IMPORTED = "imported"
"""In place of the digest of the training images, which a checkpoint does not hold."""
IMAGENET_EPOCH = 1_281_167
"""Training images of ImageNet, which the official code trains on."""
EVALUATED = 50_000
"""Samples that the official code scores."""
EVERYWHERE = (0.0, 1.0)
"""The times at which the official code guides where its command names none."""
READ = frozenset(
    {
        *("model", "img_size", "class_num", "in_context_start", "attn_dropout", "proj_dropout"),
        *("P_mean", "P_std", "t_eps", "noise_scale", "label_drop_prob"),
        *("blr", "lr", "lr_schedule", "warmup_epochs", "epochs", "min_lr", "weight_decay", "ema_decay1", "ema_decay2"),
        *("batch_size", "world_size", "seed"),
        *("num_images", "cfg", "sampling_method", "num_sampling_steps", "interval_min", "interval_max"),
    }
)
"""The settings that say something of a model; the others of a command say where it ran."""
_MEND = "correct `args` and save the checkpoint again"


def config_of(sizes: Sizes, args: Mapping[str, Scalar], *, class_tokens_start: int | None) -> ModelFolderConfig:
    """The trial that a checkpoint is of, and the official way to sample from it.

    ValueError: the settings and the tensors disagree, or a setting is none of the official code's.
    """
    named = _preset_of(_word(args, "model", ""))
    model = _model(sizes, args, named, class_tokens_start)
    data = DataConfig(digest=IMPORTED, image_size=sizes.image_size, channels=sizes.channels, num_classes=sizes.num_classes)
    _agree(args, "img_size", data.image_size)
    _agree(args, "class_num", data.num_classes)
    recipe = named or PRESETS["jit-b"]
    batch = _whole(args, "batch_size", recipe.batch_size) * _whole(args, "world_size", 1)
    decays = zip(("ema_decay1", "ema_decay2"), JIT_AVERAGES, strict=True)
    averages = [{"kind": "decay", "name": e.name, "decay": _number(args, key, e.decay), "warmup": False} for key, e in decays]
    trial = {
        "data": data,
        "model": model,
        "diffusion": _diffusion(args),
        "optimiser": _optimiser(args, recipe, batch=batch),
        "ema": averages,
        "batch_size": batch,
        "seed": _whole(args, "seed", 0),
        "attention": "fp32",
        "device": "cuda",
    }
    return ModelFolderConfig.model_validate({"trial": trial, "evaluation": _evaluation(args, num_classes=data.num_classes)})


def official_name(model: ModelConfig) -> str | None:
    """The official code's name of a network, such as `JiT-B/16`; None of a size that it does not know."""
    for size in "BLH":
        known = preset(f"jit-{size.lower()}/{model.patch_size}").model
        dropout = {"attn_dropout": known.attn_dropout, "proj_dropout": known.proj_dropout}
        if model.model_copy(update=dropout) == known:
            return f"JiT-{size}/{model.patch_size}"
    return None


def args_of(config: ModelFolderConfig) -> dict[str, Scalar]:
    """A champion's settings by their official names; `t_eps` is the one that its samples were drawn with."""
    trial, evaluation = config.trial, config.evaluation
    name, times = official_name(trial.model), trial.diffusion.t_sampling
    args: dict[str, Scalar] = {"model": name} if name else {}
    if trial.model.class_tokens:
        args["in_context_start"] = trial.model.class_tokens_start
    args |= {"img_size": trial.data.image_size, "class_num": trial.data.num_classes}
    args |= {"attn_dropout": trial.model.attn_dropout, "proj_dropout": trial.model.proj_dropout}
    args |= {"noise_scale": trial.diffusion.noise_scale, "t_eps": evaluation.t_eps_sample}
    args |= {"P_mean": times.mu, "P_std": times.sigma} if isinstance(times, LogitNormal) else {}
    args |= {"label_drop_prob": trial.diffusion.label_drop, "batch_size": trial.batch_size, "seed": trial.seed}
    args |= {"sampling_method": evaluation.sampler, "num_sampling_steps": evaluation.steps, "cfg": evaluation.guidance}
    return args | dict(zip(("interval_min", "interval_max"), evaluation.interval, strict=True))


def lacking(evaluation: EvaluationConfig) -> tuple[str, ...]:
    """Settings by which samples were drawn that the official sampler does not have, such as `shift=2`."""
    usual = Sampling()
    named = ("shift", "guidance_channels", "classifier_scale")
    told = [name for name in named if name not in evaluation.idle and getattr(evaluation, name) != getattr(usual, name)]
    guide = (f"classifier={evaluation.guide.trial}",) if evaluation.guide is not None else ()
    return (*guide, *(f"{name}={getattr(evaluation, name)}" for name in told))


def _model(sizes: Sizes, args: Mapping[str, Scalar], named: Recipe | None, class_tokens_start: int | None) -> dict[str, Any]:
    """Of `ModelConfig`: sizes from the tensors, which the named size must have."""
    if sizes.width % sizes.head_dim:
        rule = "the heads' dimension must divide the width"
        raise ValueError(f"{rule}, got {sizes.head_dim} in q_norm and width={sizes.width}; give the file as it was saved")
    model = {
        "patch_size": sizes.patch_size,
        "width": sizes.width,
        "depth": sizes.depth,
        "heads": sizes.width // sizes.head_dim,
        "embedding": {"kind": "bottleneck", "dim": sizes.bottleneck},
        "class_tokens": sizes.class_tokens,
        "mlp_ratio": _mlp_ratio(sizes),
    }
    if named is not None:
        known = named.model.model_dump()
        differing = [f"{key}={known[key]} (tensors: {value})" for key, value in model.items() if known[key] != value]
        if differing:
            rule = "`args.model` must agree with the tensors"
            raise ValueError(f"{rule}, got {args['model']!r} with {', '.join(differing)}; {_MEND}")
    start = _class_tokens_start(sizes, args, named, class_tokens_start)
    dropout = {name: _number(args, name, 0.0) for name in ("attn_dropout", "proj_dropout")}
    return {**model, "class_tokens_start": start, **dropout}


def _class_tokens_start(sizes: Sizes, args: Mapping[str, Scalar], named: Recipe | None, given: int | None) -> int:
    """The caller's, else the named size's, else the settings': the tensors do not tell."""
    if given is not None or not sizes.class_tokens:
        return given or 0
    if named is not None:
        _agree(args, "in_context_start", named.model.class_tokens_start)
        return named.model.class_tokens_start
    if args.get("in_context_start") is None:
        rule, got = "`args.model` must be an official name such as JiT-B/16", _word(args, "model", "none")
        raise ValueError(f"{rule}, got {got!r}; give the block where its class tokens begin with --class-tokens-start N")
    return _whole(args, "in_context_start", 0)


def _mlp_ratio(sizes: Sizes) -> float:
    """The official 4.0 where it gives the hidden width that the tensors have, else one that does."""
    shape = ModelConfig(patch_size=1, width=sizes.width, depth=1, heads=1, position="none", rope=False, class_tokens=0)
    # Half a unit above the whole number before the factor 2/3, which rounding then cannot miss.
    wide = (math.ceil(sizes.hidden * 3 / 2) + 0.5) / sizes.width
    return shape.mlp_ratio if mlp_hidden(shape) == sizes.hidden else wide


def _diffusion(args: Mapping[str, Scalar]) -> dict[str, Any]:
    diffusion, times = DiffusionConfig(), LogitNormal()
    return {
        "t_sampling": {
            "kind": times.kind,
            "mu": _number(args, "P_mean", times.mu),
            "sigma": _number(args, "P_std", times.sigma),
        },
        "t_eps_train": _number(args, "t_eps", diffusion.t_eps_train),
        "noise_scale": _number(args, "noise_scale", diffusion.noise_scale),
        "label_drop": _number(args, "label_drop_prob", diffusion.label_drop),
    }


def _optimiser(args: Mapping[str, Scalar], recipe: Recipe, *, batch: int) -> dict[str, Any]:
    """`lr` stands in every saved file: it is the user's where it is not `blr` x batch / 256.

    The settings do not hold the images of an epoch: ImageNet's count is taken.
    """
    base = _number(args, "blr", recipe.optimiser.learning_rate)
    scaled = base * batch / 256
    rate = _number(args, "lr", scaled)
    is_scaled = math.isclose(rate, scaled, rel_tol=1e-6)
    warmup = _number(args, "warmup_epochs", OFFICIAL_WARMUP.epochs)
    schedule: dict[str, Any] = {"kind": _word(args, "lr_schedule", "constant")}
    if schedule["kind"] == "cosine":
        schedule["total_images"] = round(_number(args, "epochs", 200) * IMAGENET_EPOCH)
        schedule["final"] = _number(args, "min_lr", 0.0) / rate if rate else 0.0
    return {
        "learning_rate": base if is_scaled else rate,
        "scale_with_batch": is_scaled,
        "schedule": schedule,
        "weight_decay": _number(args, "weight_decay", recipe.optimiser.weight_decay),
        "warmup_images": round(warmup * IMAGENET_EPOCH),
    }


def _evaluation(args: Mapping[str, Scalar], *, num_classes: int) -> dict[str, Any]:
    """The official sampler; an unconditional model has no guidance."""
    default = EvaluationConfig(sampler="heun", steps=50)
    low, high = EVERYWHERE
    return {
        "n": _whole(args, "num_images", EVALUATED),
        "labels": default.labels,
        "sampler": _word(args, "sampling_method", default.sampler),
        "steps": _whole(args, "num_sampling_steps", default.steps),
        "guidance": _number(args, "cfg", default.guidance) if num_classes > 1 else 1.0,
        "interval": (_number(args, "interval_min", low), _number(args, "interval_max", high)),
        "t_eps_sample": _number(args, "t_eps", default.t_eps_sample),
        "weights": JIT_AVERAGES[0].name,
    }


def _preset_of(name: str) -> Recipe | None:
    """The recipe of an official size's name; None of any other name."""
    size = re.fullmatch(r"JiT-([BLHG])/([1-9]\d{0,3})", name)
    return preset(f"jit-{size[1].lower()}/{size[2]}") if size else None


def _number(args: Mapping[str, Scalar], name: str, default: float) -> float:
    value = args.get(name)
    if value is None:
        return default
    if isinstance(value, bool | str) or abs(value) > MOST:
        raise ValueError(f"`args.{name}` must be a number up to 2^53, got {repr(value)[:60]}; {_MEND}")
    return float(value)


def _whole(args: Mapping[str, Scalar], name: str, default: int) -> int:
    value = _number(args, name, default)
    if value != round(value):
        raise ValueError(f"`args.{name}` must be a whole number, got {value}; {_MEND}")
    return round(value)


def _word(args: Mapping[str, Scalar], name: str, default: str) -> str:
    value = args.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > 60:
        raise ValueError(f"`args.{name}` must be a word, got {repr(value)[:60]}; {_MEND}")
    return value


def _agree(args: Mapping[str, Scalar], name: str, expected: int) -> None:
    """ValueError: a setting that stands in `args` is not what the tensors or the model's name say."""
    value = _whole(args, name, expected)
    if value != expected:
        raise ValueError(f"`args.{name}` must agree with the tensors and the model's name, got {value} and {expected}; {_MEND}")
