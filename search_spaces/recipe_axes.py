"""The axes that are of a whole recipe: its preset, and what its network's numbers are of."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter

from search_spaces.axis import SWITCH, Axis, AxisValue, Slot, Tree, at, under
from search_spaces.presets import preset
from trainables.config.fields import without
from trainables.config.space import PIXELS, LatentSpace, StageEncoder
from trainables.config.yaml import parsed

TRAINED = ("model", "method", "space", "diffusion", "optimiser", "ema", "batch_size")
"""What a preset says of a recipe; how fast it is computed stays as it was."""


def _known(name: str) -> str:
    preset(name)
    return name


def _put_preset(tree: Tree, name: str) -> None:
    recipe = preset(name).model_dump()
    tree.update({key: recipe[key] for key in TRAINED})


def _unread(_tree: Tree) -> AxisValue:
    """KeyError: a recipe does not say which preset it came from."""
    raise KeyError("preset")


def _named(text: str) -> StageEncoder:
    """Of `STAGE`, or `STAGE AXIS=VALUE ...`. ValueError: it is no such text."""
    stage, *words = text.split() or [""]
    pairs = [word.partition("=") for word in words]
    if "=" in stage or not stage or any(not axis or not equals for axis, equals, _ in pairs):
        raise ValueError(f"must be a stage's name, or such as `codes code=vq`, got {text!r}; name a stage")
    return StageEncoder(stage=stage, where={axis: parsed(value) for axis, _, value in pairs})


def _checked(text: str) -> str:
    _named(text)
    return text


def _put_encoder(tree: Tree, named: str | None) -> None:
    if named is None:
        tree["space"] = PIXELS.model_dump()
        return
    own = without(tree["space"], {"encoder", "trunk"}) if tree["space"]["kind"] == "latent" else {"kind": "latent"}
    tree["space"] = LatentSpace.model_validate({**own, "encoder": _named(named)}).model_dump()


def _get_encoder(tree: Tree) -> str | None:
    """KeyError: it is no stage of the sweep."""
    if tree["space"]["kind"] == "pixels":
        return None
    stage, where = tree["space"]["encoder"]["stage"], tree["space"]["encoder"]["where"]
    words = (f"{axis}={value if isinstance(value, str) else json.dumps(value)}" for axis, value in where.items())
    return " ".join((stage, *words))


PRESET = Axis(
    "preset",
    "network, method, loss, optimiser, averages and batch of a preset, in the place of the baseline's",
    TypeAdapter(Annotated[str, AfterValidator(_known)]),
    Slot(_put_preset, _unread),
)
OF_SPACE = (
    Axis(
        "encoder",
        "whose codes it sees: an earlier stage, with an arm of it where there are several (`codes code=vq`); null: pixels",
        TypeAdapter(Annotated[str, AfterValidator(_checked)] | None),
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
