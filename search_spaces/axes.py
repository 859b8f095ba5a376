"""The axes a sweep may vary.

To add one: register it in `AXES`. Nothing else names it.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, TypeAdapter

from search_spaces.axis import (
    FRACTION,
    POSITIVE,
    POSITIVE_INT,
    SWITCH,
    Axis,
    Slot,
    Tree,
    at,
    kind_of,
    of_variant,
    under,
    within,
)
from search_spaces.recipe_axes import CLASSIFIER, OF_PARENT, OF_SPACE, PRESET, may_be_guided
from search_spaces.trunk_axes import OF_METHOD, OF_PROJECTOR, OF_TRUNK
from trainables.config.diffusion import Target
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, choices
from trainables.config.heads import HEADS
from trainables.config.network import ModelConfig
from trainables.config.path import KarrasPath
from trainables.config.recipe import AttentionMode, Precision
from trainables.config.times import TSampling
from trainables.config.trunks import TRUNKS, is_read


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
        POSITIVE_INT,
        at("model", "head", size),
        lambda tree: tree["model"]["head"]["kind"] in kinds,
        condition,
    )


def _drawn_by_a_head(setting: str, about: str) -> "Axis":
    """A setting of the evaluation that only a token's head reads."""
    values = within(EvaluationConfig.model_fields[setting])
    return Axis(setting, about, values, at("evaluation", setting), under(("method",), "masked_tokens"), "method=masked_tokens")


def _switch_of_model(name: str, about: str, *, under: str = "") -> "Axis":
    """A choice or switch of the network, by its field's name; `under` is the switch that it hangs on."""
    values: TypeAdapter[Any] = SWITCH if ModelConfig.model_fields[name].annotation is bool else _choice(name)
    if under:
        return Axis(name, about, values, at("model", name), lambda tree: bool(tree["model"][under]), f"{under}=true")
    return Axis(name, about, values, at("model", name))


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


def _put_interval(tree: Tree, text: str) -> None:
    tree["evaluation"]["interval"] = tuple(float(end) for end in text.split(".."))


def _get_interval(tree: Tree) -> str:
    return "..".join(f"{end:.12g}" for end in tree["evaluation"]["interval"])


def _checked_interval(text: str) -> str:
    """As a table has it. ValueError: it is no interval of times."""
    try:
        low, high = (float(end) for end in text.split(".."))
    except ValueError:
        low, high = 0.0, 0.0
    if not 0 <= low < high <= 1:
        raise ValueError(f"must be two times of 0..1 such as 0.1..1, the lower one first, got {text!r}")
    return f"{low:.12g}..{high:.12g}"


def _term(kind: str, about: str) -> "Axis":
    """The weight of a loss term; 0 leaves it out."""

    def put(tree: Tree, weight: float) -> None:
        others = [term for term in tree["diffusion"]["terms"] if term["kind"] != kind]
        own = {**(_term_in(tree, kind) or {"kind": kind}), "weight": weight}
        tree["diffusion"]["terms"] = [*others, *([own] if weight else [])]

    def get(tree: Tree) -> float:
        own = _term_in(tree, kind)
        return float(own["weight"]) if own else 0.0

    return Axis(f"term.{kind}", about, TypeAdapter(NonNegativeFloat), Slot(put, get))


def _of_term(kind: str, name: str, about: str) -> "Axis":
    """A setting of a loss term, where the term is there."""

    def put(tree: Tree, value: int | None) -> None:
        terms = tree["diffusion"]["terms"]
        tree["diffusion"]["terms"] = [{**term, name: value} if term["kind"] == kind else term for term in terms]

    def get(tree: Tree) -> int | None:
        value: int | None = (_term_in(tree, kind) or {})[name]
        return value

    values: TypeAdapter[Any] = TypeAdapter(PositiveInt | None)
    return Axis(
        f"{kind}_{name}", about, values, Slot(put, get), lambda tree: bool(_term_in(tree, kind)), f"term.{kind} above 0"
    )


def _term_in(tree: Tree, kind: str) -> Tree | None:
    """The loss term of this kind."""
    return next((term for term in tree["diffusion"]["terms"] if term["kind"] == kind), None)


_TARGET: TypeAdapter[Any] = TypeAdapter(Target)
_HEAD: TypeAdapter[Any] = TypeAdapter(Literal[tuple(HEADS)])  # type: ignore[arg-type]
_T_SAMPLINGS: list[str] = [variant().kind for variant in get_args(get_args(TSampling)[0])]
_DRAWN = ("diffusion", "t_sampling")
_WEIGHED = ("diffusion", "weighting")
_PATH = ("diffusion", "path")
_LEVELS = KarrasPath.model_fields["levels"]
_REGISTERED = (
    PRESET,
    *OF_METHOD,
    *OF_TRUNK,
    *OF_PARENT,
    *OF_PROJECTOR,
    *OF_SPACE,
    Axis("patch_size", "side of a patch in pixels", POSITIVE_INT, at("model", "patch_size")),
    Axis(
        "prediction",
        "what the network outputs: x, the clean image; eps, the noise; or v, the velocity between them",
        _TARGET,
        at("diffusion", "prediction"),
    ),
    Axis("loss", "the space of the squared error: x, eps or v", _TARGET, at("diffusion", "loss")),
    Axis(
        "path",
        "flow: from noise to the image at once; staged: from a small or blurred image on (PixelFlow); karras: by EDM (EPG)",
        TypeAdapter(Literal["flow", "staged", "karras"]),
        kind_of(*_PATH),
    ),
    of_variant("levels", "noise levels of the path in training", within(_LEVELS), (*_PATH, "levels"), "karras"),
    of_variant("stages", "stages of the path", POSITIVE_INT, (*_PATH, "stages"), "staged"),
    of_variant(
        "stage_transform",
        "what an earlier stage has of an image: downsample or blur",
        TypeAdapter(Literal["downsample", "blur"]),
        (*_PATH, "transform"),
        "staged",
    ),
    of_variant(
        "stage_noise",
        "noise of a smaller stage: shared (PixelFlow) or halved (Pyramidal Flow)",
        TypeAdapter(Literal["shared", "halved"]),
        (*_PATH, "noise"),
        "staged",
    ),
    of_variant("stage_gamma", "correlation of the noise at a border", TypeAdapter(FiniteFloat), (*_PATH, "gamma"), "staged"),
    Axis(
        "t_sampling",
        f"distribution of t in training: {choices(_T_SAMPLINGS)}",
        TypeAdapter(Literal[tuple(_T_SAMPLINGS)]),  # type: ignore[arg-type]
        kind_of(*_DRAWN),
    ),
    of_variant("t_mu", "mean of logit(t), under logit_normal", TypeAdapter(FiniteFloat), (*_DRAWN, "mu"), "logit_normal"),
    of_variant("t_sigma", "standard deviation of logit(t), under logit_normal", POSITIVE, (*_DRAWN, "sigma"), "logit_normal"),
    of_variant("t_scale", "SD3's scale, under mode", TypeAdapter(FiniteFloat), (*_DRAWN, "scale"), "mode"),
    of_variant("t_shift", "reference over own resolution, under shifted", POSITIVE, (*_DRAWN, "shift"), "shifted"),
    of_variant("t_at_noise", "shift at t = 0, under interpolated", POSITIVE, (*_DRAWN, "at_noise"), "interpolated"),
    of_variant("t_at_data", "shift at t = 1, under interpolated", POSITIVE, (*_DRAWN, "at_data"), "interpolated"),
    Axis(
        "weighting",
        "weighs the squared x-error by time: sigmoid (SiD2) or min_snr; none is the loss's space",
        TypeAdapter(Literal["none", "sigmoid", "min_snr"]),
        kind_of(*_WEIGHED),
    ),
    of_variant("weighting_bias", "SiD2's bias, under sigmoid", TypeAdapter(FiniteFloat), (*_WEIGHED, "bias"), "sigmoid"),
    of_variant(
        "weighting_importance", "divides by the density of t, under sigmoid", SWITCH, (*_WEIGHED, "importance"), "sigmoid"
    ),
    of_variant("weighting_gamma", "largest weight, under min_snr", POSITIVE, (*_WEIGHED, "gamma"), "min_snr"),
    _term("cosine", "weight of one minus the cosine over channels (LightningDiT); 0 is none"),
    _term("frequency", "weight of JPEG's frequencies (DeCo); 0 is none"),
    _term("multiscale", "weight of the error of averaged images (simple diffusion); 0 is none"),
    _term("classifier", "weight of the cross entropy of a classifier of tokens (JiT, table 11); 0 is none"),
    _of_term("classifier", "block", "blocks before that classifier reads; null is a third of the depth"),
    _term("representation", "weight of the distance to a frozen teacher's tokens (REPA); 0 is none"),
    _of_term("representation", "block", "blocks before its projector reads; null is a third of the depth"),
    _of_term("representation", "hidden", "width between the projector's maps; null is the network's"),
    Axis("t_eps_train", "clamp on 1 - t in training; 0 is off", FRACTION, at("diffusion", "t_eps_train")),
    Axis(
        "dimensions",
        "that each patch is lifted to, noised and predicted in; null: none",
        TypeAdapter(PositiveInt | None),
        at("diffusion", "dimensions"),
    ),
    Axis("noise_scale", "standard deviation of the noise", POSITIVE, at("diffusion", "noise_scale")),
    Axis(
        "learning_rate",
        "learning rate; of 256 images where `scale_with_batch` is set, as in the JiT presets",
        POSITIVE,
        at("optimiser", "learning_rate"),
    ),
    Axis(
        "optimiser",
        "adamw, or muon with AdamW for what is no hidden matrix",
        TypeAdapter(Literal["adamw", "muon"]),
        at("optimiser", "method"),
    ),
    Axis(
        "momentum",
        "share of the gradient's running mean that Muon keeps",
        FRACTION,
        at("optimiser", "momentum"),
        lambda tree: bool(tree["optimiser"]["method"] == "muon"),
        "optimiser=muon",
    ),
    Axis("width", "token width", POSITIVE_INT, at("model", "width")),
    Axis("depth", "number of blocks", POSITIVE_INT, at("model", "depth")),
    Axis(
        "bottleneck",
        "patch embedding's bottleneck; null is none",
        TypeAdapter(PositiveInt | None),
        Slot(_put_bottleneck, _get_bottleneck),
    ),
    Axis("norm", "rms (JiT) or layer (DiT)", TypeAdapter(Literal["rms", "layer"]), at("model", "norm")),
    Axis("mlp", "swiglu (JiT) or gelu (DiT)", TypeAdapter(Literal["swiglu", "gelu"]), at("model", "mlp")),
    Axis("rope", "rotary positions on q and k", SWITCH, at("model", "rope")),
    _switch_of_model(
        "rope_kind", "rotary positions: axial (JiT), column_first (PixelFlow) or alternating (PixNerd)", under="rope"
    ),
    Axis("qk_norm", "a norm on q and k", SWITCH, at("model", "qk_norm")),
    _switch_of_model("qk_norm_kind", "the norm on q and k: rms or layer of each head, or joint of all", under="qk_norm"),
    _switch_of_model("bias", "biases of q, k, v and the MLP"),
    _switch_of_model("position", "sincos: a sine-cosine table is added to the tokens; or none"),
    Axis("time_period", "longest period of t's sinusoids: 10000 (JiT), 10 (PixNerd)", POSITIVE, at("model", "time_period")),
    _switch_of_model("time_kind", "t's sinusoids: raw of t (JiT) or clock of 1000 t (PixelFlow)"),
    _switch_of_model("mlp_norm", "norm before a block's MLP: rms or layer; null is as `norm`"),
    _switch_of_model("adaln_start", "the modulation at first: zero (adaLN-Zero) or torch's default"),
    _switch_of_model("adaln_shift", "whether a block's modulation shifts"),
    _switch_of_model("block_start", "the blocks at first: xavier (JiT) or torch's default"),
    Axis(
        "head",
        f"from tokens to the image: {choices([*HEADS])}",
        _HEAD,
        kind_of("model", "head"),
    ),
    Axis(
        "final_norm",
        "norm before the linear head: rms or layer; null is as `norm`",
        _choice("final_norm"),
        at("model", "final_norm"),
        lambda tree: tree["model"]["head"]["kind"] == "linear",
        "head=linear",
    ),
    _size_of_head("width", "numbers of a pixel"),
    _size_of_head("blocks", "blocks of the head"),
    Axis(
        "class_tokens",
        "in-context copies of the class embedding; 0 is none",
        TypeAdapter(NonNegativeInt),
        at("model", "class_tokens"),
    ),
    Axis(
        "routing",
        "skip: in training a share of the tokens skips the middle blocks; or none",
        TypeAdapter(Literal["none", "skip"]),
        kind_of("model", "routing"),
    ),
    of_variant("routing_share", "of the tokens, those that skip", FRACTION, ("model", "routing", "share"), "skip"),
    of_variant("routing_ends", "blocks at each end that see all tokens", POSITIVE_INT, ("model", "routing", "ends"), "skip"),
    Axis("dropout", "attn_dropout and proj_dropout at once", FRACTION, Slot(_put_dropout, _get_dropout)),
    Axis("attn_dropout", "of attention weights, in the middle half of the blocks", FRACTION, at("model", "attn_dropout")),
    Axis("proj_dropout", "of projections, in the middle half of the blocks", FRACTION, at("model", "proj_dropout")),
    Axis(
        "output_skip",
        "pre-conditioner: none, edm or linear",
        TypeAdapter(Literal["none", "edm", "linear"]),
        at("model", "output_skip"),
    ),
    _switch_of_model("size_embedding", "whether the network is told the tokens along a side (PixelFlow)"),
    _switch_of_model("normalise_input", "whether the network sees each noisy image over its own standard deviation (Chen)"),
    Axis("attention", "sdpa, cudnn, flash, triton or fp32", TypeAdapter(AttentionMode), at("attention")),
    Axis("residual", "precision of the residual stream: fp32 or bf16", TypeAdapter(Precision), at("residual")),
    Axis("grad_clip", "largest gradient norm; null is off", TypeAdapter(PositiveFloat | None), at("optimiser", "grad_clip")),
    Axis("batch_size", "images of one update", POSITIVE_INT, at("batch_size")),
    Axis("weights", "the average that is scored, by its name, or raw", TypeAdapter(str), at("evaluation", "weights")),
    Axis("t_eps_sample", "clamp on 1 - t in sampling; 0 is off", FRACTION, at("evaluation", "t_eps_sample")),
    Axis("sampling_steps", "steps of the sampler", POSITIVE_INT, at("evaluation", "steps")),
    Axis("sampling_shift", "time shift of the sampler's steps; 1 is none", POSITIVE, at("evaluation", "shift")),
    Axis("guidance", "classifier-free guidance scale; 1 is off", TypeAdapter(NonNegativeFloat), at("evaluation", "guidance")),
    Axis(
        "interval",
        "times t at which guidance of either kind acts, such as 0.1..1",
        TypeAdapter(Annotated[str, AfterValidator(_checked_interval)]),
        Slot(_put_interval, _get_interval),
        lambda tree: bool(tree["method"]["kind"] == "denoiser"),
        "method=denoiser",
    ),
    CLASSIFIER,
    Axis(
        "classifier_scale",
        "how strongly the evaluation's `classifier` guides; 0 is off",
        TypeAdapter(NonNegativeFloat),
        at("evaluation", "classifier_scale"),
        may_be_guided,
        "method=denoiser, and `classifier` is not null",
    ),
    _drawn_by_a_head("temperature", "by which the noise of a token's steps is multiplied"),
    _drawn_by_a_head("head_steps", "steps by which a token is drawn"),
    _drawn_by_a_head("token_limit", "largest number of the clean token that such a step finds; null: codes are not bounded"),
)
_SETTINGS = {
    "bottleneck": "embedding",
    "dropout": "proj_dropout",
    "head_width": "head",
    "head_blocks": "head",
    "routing_share": "routing",
    "routing_ends": "routing",
}
"""The settings of a model that axes of another name write."""


def _where_read(axis: Axis) -> Axis:
    """An axis of a model's setting exists under the trunks that have a use for it."""
    setting = _SETTINGS.get(axis.name, axis.name)
    kinds = [kind for kind in TRUNKS if is_read(setting, trunk=kind)]
    if setting not in ModelConfig.model_fields or len(kinds) == len(TRUNKS):
        return axis
    condition = f"{axis.condition} and trunk={choices(kinds)}" if axis.condition else f"trunk={choices(kinds)}"
    return replace(axis, exists=lambda tree: tree["model"]["trunk"]["kind"] in kinds and axis.exists(tree), condition=condition)


AXES: dict[str, Axis] = {axis.name: _where_read(axis) for axis in _REGISTERED}
