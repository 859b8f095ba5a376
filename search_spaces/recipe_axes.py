"""The axes that are of a whole recipe: its preset, and what its network's numbers are of."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter

from search_spaces.axis import SWITCH, Axis, AxisValue, Slot, Tree, at, under
from search_spaces.presets import preset
from trainables.config.fields import without
from trainables.config.space import PIXELS, LatentSpace
from trainables.config.stage_arm import StageArm
from trainables.config.yaml import parsed

TRAINED = ("model", "method", "space", "diffusion", "optimiser", "ema", "batch_size")
"""What a preset says of a recipe; how fast it is computed stays as it was."""
WHOLE = "whole"
BEST = "best"
"""Behind a stage's name: of its arms, or of those with the values behind it, the best once it has ended."""


def _known(name: str) -> str:
    preset(name)
    return name


def _put_preset(tree: Tree, name: str) -> None:
    recipe = preset(name).model_dump()
    tree.update({key: recipe[key] for key in TRAINED})


def _unread(_tree: Tree) -> AxisValue:
    """KeyError: a recipe does not say which preset it came from."""
    raise KeyError("preset")


def stage_arm(text: str) -> StageArm:
    """Of `STAGE`, `STAGE AXIS=VALUE ...`, or with `best` behind the stage. ValueError: it is no such text."""
    stage, *words = text.split() or [""]
    best = words[:1] == [BEST]
    words = words[1:] if best else words
    pairs = [word.partition("=") for word in words]
    if "=" in stage or not stage or any(not axis or not equals for axis, equals, _ in pairs):
        raise ValueError(f"must be a stage's name, or such as `codes code=vq` or `codes best`, got {text!r}; name a stage")
    return StageArm(stage=stage, where={axis: parsed(value) for axis, _, value in pairs}, best=best)


def _checked(text: str) -> str:
    stage_arm(text)
    return text


def _put_encoder(tree: Tree, named: str | None) -> None:
    if named is None:
        tree["space"] = PIXELS.model_dump()
        return
    own = without(tree["space"], {"encoder", "trunk"}) if tree["space"]["kind"] == "latent" else {"kind": "latent"}
    encoder = {"kind": "stage", **stage_arm(named).model_dump()}
    tree["space"] = LatentSpace.model_validate({**own, "encoder": encoder}).model_dump()


def _get_encoder(tree: Tree) -> str | None:
    """KeyError: it is no stage of the sweep."""
    if tree["space"]["kind"] == "pixels":
        return None
    return _worded(tree["space"]["encoder"])


def _worded(named: Tree) -> str:
    """A stage's arm as an axis value. KeyError: it is no stage of the sweep."""
    words = (f"{axis}={value if isinstance(value, str) else json.dumps(value)}" for axis, value in named["where"].items())
    return " ".join((named["stage"], *([BEST] if named["best"] else []), *words))


def _put_parent(tree: Tree, named: str | None) -> None:
    parts = (tree["parent"] or {}).get("parts", ())
    tree["parent"] = None if named is None else {**stage_arm(named).model_dump(), "parts": parts}


def _get_parent(tree: Tree) -> str | None:
    """KeyError: it is no stage of the sweep."""
    return None if tree["parent"] is None else _worded(tree["parent"])


def _put_classifier(tree: Tree, named: str | None) -> None:
    tree["evaluation"] |= (
        {"classifier": None, "classifier_scale": 1.0} if named is None else {"classifier": stage_arm(named).model_dump()}
    )


def _get_classifier(tree: Tree) -> str | None:
    """KeyError: it is no stage of the sweep."""
    named = tree["evaluation"]["classifier"]
    return None if named is None else _worded(named)


def may_be_guided(tree: Tree) -> bool:
    """Whether an evaluation has a classifier, or leaves it to the sweep's own."""
    return bool(tree["method"]["kind"] == "denoiser") and tree["evaluation"].get("classifier", "the sweep's") is not None


def _put_parts(tree: Tree, parts: str) -> None:
    tree["parent"]["parts"] = () if parts == WHOLE else (parts,)


def _get_parts(tree: Tree) -> str:
    found: tuple[str, ...] = tree["parent"]["parts"]
    return found[0] if found else WHOLE


PRESET = Axis(
    "preset",
    "network, method, loss, optimiser, averages and batch of a preset, in the place of the baseline's",
    TypeAdapter(Annotated[str, AfterValidator(_known)]),
    Slot(_put_preset, _unread),
)
_STAGE_ARM: TypeAdapter[str | None] = TypeAdapter(Annotated[str, AfterValidator(_checked)] | None)
NAMES_A_STAGE = ("encoder", "parent", "classifier")
"""Axes whose values name an earlier stage, with an arm of it where there are several; null: none."""
CLASSIFIER = Axis(
    "classifier",
    "what guides samples by its gradient: an earlier stage, with an arm of it or `best` where there are several; null: nothing",
    _STAGE_ARM,
    Slot(_put_classifier, _get_classifier),
    lambda tree: bool(tree["method"]["kind"] == "denoiser"),
    "method=denoiser",
)
OF_PARENT = (
    Axis(
        "parent",
        "whose weights it starts from: an earlier stage, with an arm of it or `best` where there are several; null: the seed's",
        _STAGE_ARM,
        Slot(_put_parent, _get_parent),
    ),
    Axis(
        "parent_part",
        "what of its parent's weights it starts from: the encoder alone, or the whole network",
        TypeAdapter(Literal["encoder", "whole"]),
        Slot(_put_parts, _get_parts),
        lambda tree: tree["parent"] is not None,
        "a parent",
    ),
)
OF_SPACE = (
    Axis(
        "encoder",
        "whose codes it sees: an earlier stage, with an arm of it where there are several (`codes code=vq`, or `codes best`: "
        "that of least error, once all have ended); null: pixels",
        _STAGE_ARM,
        Slot(_put_encoder, _get_encoder),
        lambda tree: bool(tree["method"]["kind"] in ("denoiser", "masked_tokens")),
        "method=denoiser or masked_tokens",
    ),
    Axis(
        "latent_sample",
        "of a Gaussian code: mean or draw",
        TypeAdapter(Literal["mean", "draw"]),
        at("space", "sample"),
        under(("space",), "latent"),
        "space=latent",
    ),
    Axis(
        "latent_quantise",
        "whether samples become entries of a quantised code before they are decoded",
        SWITCH,
        at("space", "quantise"),
        under(("space",), "latent"),
        "space=latent",
    ),
)
