"""The axes that are of a whole recipe: its preset, and what its network's numbers are of."""

from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter

from search_spaces.axis import SWITCH, Axis, AxisValue, Slot, Tree, at, under
from search_spaces.presets import preset
from trainables.config.fields import without
from trainables.config.space import PIXELS, LatentSpace, StageEncoder

_TRAINED = ("model", "method", "space", "diffusion", "optimiser", "ema", "batch_size")
"""What a preset says of a recipe; how fast it is computed stays as it was."""


def _known(name: str) -> str:
    preset(name)
    return name


def _put_preset(tree: Tree, name: str) -> None:
    recipe = preset(name).model_dump()
    tree.update({key: recipe[key] for key in _TRAINED})


def _unread(_tree: Tree) -> AxisValue:
    """KeyError: a recipe does not say which preset it came from."""
    raise KeyError("preset")


def _put_encoder(tree: Tree, stage: str | None) -> None:
    if stage is None:
        tree["space"] = PIXELS.model_dump()
        return
    own = without(tree["space"], {"encoder", "trunk"}) if tree["space"]["kind"] == "latent" else {"kind": "latent"}
    tree["space"] = LatentSpace.model_validate({**own, "encoder": StageEncoder(stage=stage)}).model_dump()


def _get_encoder(tree: Tree) -> str | None:
    """KeyError: it is no stage of the sweep."""
    if tree["space"]["kind"] == "pixels":
        return None
    stage: str = tree["space"]["encoder"]["stage"]
    return stage


PRESET = Axis(
    "preset",
    "network, method, loss, optimiser, averages and batch of a preset, in the place of the baseline's",
    TypeAdapter(Annotated[str, AfterValidator(_known)]),
    Slot(_put_preset, _unread),
)
OF_SPACE = (
    Axis(
        "encoder",
        "whose codes the network sees: an earlier stage of one arm by its name; null: pixels",
        TypeAdapter(str | None),
        Slot(_put_encoder, _get_encoder),
        lambda tree: bool(tree["method"]["kind"] != "autoencoder"),
        "no autoencoder",
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
