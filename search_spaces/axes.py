"""The axes a sweep may vary: each name, the values it takes, where it sits in a recipe and when it exists.

To add one: register it in `AXES`. Nothing else names it.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, TypeAdapter, ValidationError

from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import (
    FiniteFloat,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    choices,
)
from trainables.config.heads import HEADS
from trainables.config.network import ModelConfig
from trainables.config.trial import AttentionMode, Precision, Recipe, Target, TrialConfig, TSampling
from trainables.config.wording import rule_of

AxisValue = str | int | float | bool | None
Tree = dict[str, Any]


class Slot(NamedTuple):
    """Where an axis sits in a recipe's nested mapping: `put` writes its value there, `get` reads it back.

    KeyError: what stands there is no value of the axis.
    """

    put: Callable[[Tree, Any], None]
    get: Callable[[Tree], AxisValue]


@dataclass(frozen=True)
class Axis:
    """One thing a sweep may vary.

    `values` checks one value; `exists` says whether the axis has a meaning in a recipe's nested mapping (a condition on axes
    that come before it in `AXES`).
    """

    name: str
    about: str
    values: TypeAdapter[Any]
    slot: Slot
    exists: Callable[[Tree], bool] = lambda _: True
    condition: str = ""
    """What `exists` asks for, in words such as `t_sampling=logit_normal`; empty where the axis always exists."""

    def check(self, value: AxisValue) -> AxisValue:
        """The value, or ValueError with the rule."""
        try:
            checked: AxisValue = self.values.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"`{self.name}` {rule_of(error.errors()[0])}") from None
        return checked


@dataclass(frozen=True)
class Cell:
    """A recipe with a cell's axis values put in, the values that exist there, and the part of them that only evaluates."""

    recipe: Recipe
    values: dict[str, AxisValue] = field(default_factory=dict)
    evaluation: dict[str, AxisValue] = field(default_factory=dict)
    """Settings of the evaluation that the axes replace, by field."""


def _at(*path: str) -> Slot:
    *above, last = path

    def put(tree: Tree, value: Any) -> None:
        _below(tree, above)[last] = value

    def get(tree: Tree) -> AxisValue:
        value: AxisValue = _below(tree, above)[last]
        return value

    return Slot(put, get)


def _below(tree: Tree, keys: list[str]) -> Tree:
    for key in keys:
        tree = tree[key]
    return tree


def _put_bottleneck(tree: Tree, value: int | None) -> None:
    tree["model"]["embedding"] = {"kind": "linear"} if value is None else {"kind": "bottleneck", "dim": value}


def _get_bottleneck(tree: Tree) -> int | None:
    embedding = tree["model"]["embedding"]
    return None if embedding["kind"] == "linear" else int(embedding["dim"])


def _heads_with(size: str) -> list[str]:
    return [kind for kind, head in HEADS.items() if size in head.model_fields]


def _size_of_head(size: str, about: str) -> "Axis":
    """An axis that exists under the heads with a size of this name."""
    kinds = _heads_with(size)
    condition = f"head={choices(kinds)}"
    return Axis(
        f"head_{size}",
        about,
        _POSITIVE_INT,
        _at("model", "head", size),
        lambda tree: tree["model"]["head"]["kind"] in kinds,
        condition,
    )


def _switch_of_model(name: str, about: str, *, under: str = "") -> "Axis":
    """A choice or switch of the network, by its field's name; `under` is the switch that it hangs on."""
    values: TypeAdapter[Any] = _SWITCH if ModelConfig.model_fields[name].annotation is bool else _choice(name)
    if under:
        return Axis(name, about, values, _at("model", name), lambda tree: bool(tree["model"][under]), f"{under}=true")
    return Axis(name, about, values, _at("model", name))


def _choice(name: str) -> TypeAdapter[Any]:
    annotation: Any = ModelConfig.model_fields[name].annotation
    return TypeAdapter(annotation)


def _put_dropout(tree: Tree, value: float) -> None:
    tree["model"]["attn_dropout"] = tree["model"]["proj_dropout"] = value


def _get_dropout(tree: Tree) -> float:
    """KeyError: the two differ."""
    attn, proj = tree["model"]["attn_dropout"], tree["model"]["proj_dropout"]
    if attn != proj:
        raise KeyError("dropout")
    return float(proj)


def _kind(*path: str) -> Slot:
    """A variant by its kind, whose other settings take their defaults where it was another one before."""

    def put(tree: Tree, kind: str) -> None:
        *above, last = path
        if _below(tree, [*path])["kind"] != kind:
            _below(tree, above)[last] = {"kind": kind}

    return Slot(put, _at(*path, "kind").get)


def _under(path: tuple[str, ...], kind: str) -> Callable[[Tree], bool]:
    """Whether a variant is of this kind."""
    return lambda tree: bool(_below(tree, [*path])["kind"] == kind)


def _of_variant(name: str, about: str, values: TypeAdapter[Any], path: tuple[str, ...], kind: str) -> "Axis":
    """A setting of one kind of a variant: the last of `path` is its name there."""
    *above, _ = path
    return Axis(name, about, values, _at(*path), _under(tuple(above), kind), f"{above[-1]}={kind}")


def _term(kind: str, about: str) -> "Axis":
    """The weight of a loss term; 0 leaves it out."""

    def put(tree: Tree, weight: float) -> None:
        others = [term for term in tree["diffusion"]["terms"] if term["kind"] != kind]
        tree["diffusion"]["terms"] = [*others, *([{"kind": kind, "weight": weight}] if weight else [])]

    def get(tree: Tree) -> float:
        return next((float(term["weight"]) for term in tree["diffusion"]["terms"] if term["kind"] == kind), 0.0)

    return Axis(f"term.{kind}", about, TypeAdapter(NonNegativeFloat), Slot(put, get))


_POSITIVE_INT: TypeAdapter[Any] = TypeAdapter(PositiveInt)
_POSITIVE: TypeAdapter[Any] = TypeAdapter(PositiveFloat)
_FRACTION: TypeAdapter[Any] = TypeAdapter(Fraction)
_TARGET: TypeAdapter[Any] = TypeAdapter(Target)
_HEAD: TypeAdapter[Any] = TypeAdapter(Literal[tuple(HEADS)])  # type: ignore[arg-type]
_SWITCH: TypeAdapter[Any] = TypeAdapter(Annotated[bool, Field(strict=True)])

_T_SAMPLINGS: list[str] = [variant().kind for variant in get_args(get_args(TSampling)[0])]
_DRAWN = ("diffusion", "t_sampling")
_WEIGHED = ("diffusion", "weighting")

_REGISTERED = (
    Axis("patch_size", "side of a patch in pixels", _POSITIVE_INT, _at("model", "patch_size")),
    Axis("prediction", "what the network outputs: x, eps or v", _TARGET, _at("diffusion", "prediction")),
    Axis("loss", "the space of the squared error: x, eps or v", _TARGET, _at("diffusion", "loss")),
    Axis(
        "t_sampling",
        f"distribution of t in training: {choices(_T_SAMPLINGS)}",
        TypeAdapter(Literal[tuple(_T_SAMPLINGS)]),  # type: ignore[arg-type]
        _kind(*_DRAWN),
    ),
    _of_variant("t_mu", "mean of logit(t), under logit_normal", TypeAdapter(FiniteFloat), (*_DRAWN, "mu"), "logit_normal"),
    _of_variant("t_sigma", "standard deviation of logit(t), under logit_normal", _POSITIVE, (*_DRAWN, "sigma"), "logit_normal"),
    _of_variant("t_scale", "SD3's scale, under mode", TypeAdapter(FiniteFloat), (*_DRAWN, "scale"), "mode"),
    _of_variant("t_shift", "reference over own resolution, under shifted", _POSITIVE, (*_DRAWN, "shift"), "shifted"),
    _of_variant("t_at_noise", "shift at t = 0, under interpolated", _POSITIVE, (*_DRAWN, "at_noise"), "interpolated"),
    _of_variant("t_at_data", "shift at t = 1, under interpolated", _POSITIVE, (*_DRAWN, "at_data"), "interpolated"),
    Axis(
        "weighting",
        "weighs the squared x-error by time: sigmoid (SiD2) or min_snr; none is the loss's space",
        TypeAdapter(Literal["none", "sigmoid", "min_snr"]),
        _kind(*_WEIGHED),
    ),
    _of_variant("weighting_bias", "SiD2's bias, under sigmoid", TypeAdapter(FiniteFloat), (*_WEIGHED, "bias"), "sigmoid"),
    _of_variant(
        "weighting_importance", "divides by the density of t, under sigmoid", _SWITCH, (*_WEIGHED, "importance"), "sigmoid"
    ),
    _of_variant("weighting_gamma", "largest weight, under min_snr", _POSITIVE, (*_WEIGHED, "gamma"), "min_snr"),
    _term("cosine", "weight of one minus the cosine over channels (LightningDiT); 0 is none"),
    _term("frequency", "weight of JPEG's frequencies (DeCo); 0 is none"),
    _term("multiscale", "weight of the error of averaged images (simple diffusion); 0 is none"),
    Axis("t_eps_train", "clamp on 1 - t in training; 0 is off", _FRACTION, _at("diffusion", "t_eps_train")),
    Axis("noise_scale", "standard deviation of the noise", _POSITIVE, _at("diffusion", "noise_scale")),
    Axis(
        "learning_rate",
        "learning rate; of 256 images where `scale_with_batch` is set, as in the JiT presets",
        _POSITIVE,
        _at("optimiser", "learning_rate"),
    ),
    Axis(
        "optimiser",
        "adamw, or muon with AdamW for what is no hidden matrix",
        TypeAdapter(Literal["adamw", "muon"]),
        _at("optimiser", "method"),
    ),
    Axis(
        "momentum",
        "share of the gradient's running mean that Muon keeps",
        _FRACTION,
        _at("optimiser", "momentum"),
        lambda tree: bool(tree["optimiser"]["method"] == "muon"),
        "optimiser=muon",
    ),
    Axis("width", "token width", _POSITIVE_INT, _at("model", "width")),
    Axis("depth", "number of blocks", _POSITIVE_INT, _at("model", "depth")),
    Axis(
        "bottleneck",
        "patch embedding's bottleneck; null is none",
        TypeAdapter(PositiveInt | None),
        Slot(_put_bottleneck, _get_bottleneck),
    ),
    Axis("norm", "rms (JiT) or layer (DiT)", TypeAdapter(Literal["rms", "layer"]), _at("model", "norm")),
    Axis("mlp", "swiglu (JiT) or gelu (DiT)", TypeAdapter(Literal["swiglu", "gelu"]), _at("model", "mlp")),
    Axis("rope", "rotary positions on q and k", _SWITCH, _at("model", "rope")),
    _switch_of_model("rope_kind", "how rotary positions turn: axial (JiT) or alternating (PixNerd)", under="rope"),
    Axis("qk_norm", "a norm on q and k", _SWITCH, _at("model", "qk_norm")),
    _switch_of_model("qk_norm_kind", "the norm on q and k: rms or layer", under="qk_norm"),
    _switch_of_model("bias", "biases of q, k, v and the MLP"),
    _switch_of_model("position", "sincos: a sine-cosine table is added to the tokens; or none"),
    Axis("time_period", "longest period of t's sinusoids: 10000 (JiT), 10 (PixNerd)", _POSITIVE, _at("model", "time_period")),
    _switch_of_model("adaln_start", "the modulation at first: zero (adaLN-Zero) or torch's default"),
    _switch_of_model("adaln_shift", "whether a block's modulation shifts"),
    _switch_of_model("block_start", "the blocks at first: xavier (JiT) or torch's default"),
    Axis(
        "head",
        f"from tokens to the image: {choices([*HEADS])}",
        _HEAD,
        _kind("model", "head"),
    ),
    Axis(
        "final_norm",
        "norm before the linear head: rms or layer; null is as `norm`",
        _choice("final_norm"),
        _at("model", "final_norm"),
        lambda tree: tree["model"]["head"]["kind"] == "linear",
        "head=linear",
    ),
    _size_of_head("width", "numbers of a pixel"),
    _size_of_head("blocks", "blocks of the head"),
    Axis(
        "class_tokens",
        "in-context copies of the class embedding; 0 is none",
        TypeAdapter(NonNegativeInt),
        _at("model", "class_tokens"),
    ),
    Axis(
        "routing",
        "skip: in training a share of the tokens skips the middle blocks; or none",
        TypeAdapter(Literal["none", "skip"]),
        _kind("model", "routing"),
    ),
    _of_variant("routing_share", "of the tokens, those that skip", _FRACTION, ("model", "routing", "share"), "skip"),
    _of_variant("routing_ends", "blocks at each end that see all tokens", _POSITIVE_INT, ("model", "routing", "ends"), "skip"),
    Axis("dropout", "attn_dropout and proj_dropout at once", _FRACTION, Slot(_put_dropout, _get_dropout)),
    Axis("attn_dropout", "of attention weights, in the middle half of the blocks", _FRACTION, _at("model", "attn_dropout")),
    Axis("proj_dropout", "of projections, in the middle half of the blocks", _FRACTION, _at("model", "proj_dropout")),
    Axis(
        "output_skip",
        "pre-conditioner: none, edm or linear",
        TypeAdapter(Literal["none", "edm", "linear"]),
        _at("model", "output_skip"),
    ),
    Axis("attention", "sdpa, cudnn, flash, triton or fp32", TypeAdapter(AttentionMode), _at("attention")),
    Axis("residual", "precision of the residual stream: fp32 or bf16", TypeAdapter(Precision), _at("residual")),
    Axis("grad_clip", "largest gradient norm; null is off", TypeAdapter(PositiveFloat | None), _at("optimiser", "grad_clip")),
    Axis("batch_size", "images of one update", _POSITIVE_INT, _at("batch_size")),
    Axis("weights", "the average that is scored, by its name, or raw", TypeAdapter(str), _at("evaluation", "weights")),
    Axis("t_eps_sample", "clamp on 1 - t in sampling; 0 is off", _FRACTION, _at("evaluation", "t_eps_sample")),
    Axis("sampling_steps", "steps of the sampler", _POSITIVE_INT, _at("evaluation", "steps")),
    Axis("sampling_shift", "time shift of the sampler's steps; 1 is none", _POSITIVE, _at("evaluation", "shift")),
    Axis("guidance", "classifier-free guidance scale; 1 is off", TypeAdapter(NonNegativeFloat), _at("evaluation", "guidance")),
)
AXES: dict[str, Axis] = {axis.name: axis for axis in _REGISTERED}


def in_order(names: Collection[str]) -> list[str]:
    """Axes as registered, so that each comes after those its existence depends on."""
    return [name for name in AXES if name in names]


def arm_label(arm: Mapping[str, AxisValue]) -> str:
    """An arm in words, such as `patch_size=16 prediction=x`."""
    return " ".join(f"{axis}={'none' if value is None else value}" for axis, value in arm.items()) or "baseline"


def put(recipe: Recipe, values: Mapping[str, AxisValue]) -> Cell:
    """A recipe with axis values put in, in registered order; values of axes that do not exist there are left out.

    ValueError: the values make no valid recipe.
    """
    tree = {**recipe.model_dump(), "evaluation": {}}
    taken: dict[str, AxisValue] = {}
    for name, axis in AXES.items():
        if name in values and axis.exists(tree):
            taken[name] = values[name]
            axis.slot.put(tree, values[name])
    evaluation = tree.pop("evaluation")
    return Cell(Recipe.model_validate(tree), taken, evaluation)


def axis_values(trial: TrialConfig, evaluation: EvaluationConfig) -> dict[str, AxisValue]:
    """The value of every axis that exists in a trial and its evaluation: what `put` would write to get them."""
    return _values({**trial.model_dump(), "evaluation": evaluation.model_dump()})


def recipe_values(recipe: Recipe) -> dict[str, AxisValue]:
    """The value of every axis that exists in a recipe; of the axes that only evaluate there is none."""
    return _values({**recipe.model_dump(), "evaluation": {}})


def _values(tree: Tree) -> dict[str, AxisValue]:
    values: dict[str, AxisValue] = {}
    for name, axis in AXES.items():
        if axis.exists(tree):
            with suppress(KeyError):
                values[name] = axis.slot.get(tree)
    return values
