"""The axes a sweep may vary: each name, the values it takes, where it sits in a recipe and when it exists.

To add one: register it in `AXES`. Nothing else names it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from search_spaces.presets import Recipe
from trainables.config import Target
from trainables.fields import FiniteFloat, Fraction, PositiveFloat, PositiveInt

AxisValue = str | int | float | bool | None
Tree = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """One thing a sweep may vary.

    `values` checks one value; `put` writes it into a recipe's nested mapping; `exists` says whether the axis has a meaning
    in that mapping (a condition on axes that come before it in `AXES`).
    """

    name: str
    about: str
    values: TypeAdapter[Any]
    put: Callable[[Tree, Any], None]
    exists: Callable[[Tree], bool] = lambda _: True

    def check(self, value: AxisValue) -> AxisValue:
        """The value, or ValueError with the rule."""
        try:
            checked: AxisValue = self.values.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"`{self.name}`: {error.errors()[0]['msg']}, got {value!r}") from None
        return checked


@dataclass(frozen=True)
class Cell:
    """A recipe with a cell's axis values put in, the values that exist there, and the sampling clamp where one is asked."""

    recipe: Recipe
    values: dict[str, AxisValue] = field(default_factory=dict)
    t_eps_sample: float | None = None


def _at(*path: str) -> Callable[[Tree, Any], None]:
    def put(tree: Tree, value: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = value

    return put


def _put_bottleneck(tree: Tree, value: int | None) -> None:
    tree["model"]["embedding"] = {"kind": "linear"} if value is None else {"kind": "bottleneck", "dim": value}


def _put_t_sampling(tree: Tree, kind: str) -> None:
    if tree["diffusion"]["t_sampling"]["kind"] != kind:
        tree["diffusion"]["t_sampling"] = {"kind": kind}


def _logit_normal(tree: Tree) -> bool:
    return bool(tree["diffusion"]["t_sampling"]["kind"] == "logit_normal")


_POSITIVE_INT: TypeAdapter[Any] = TypeAdapter(PositiveInt)
_POSITIVE: TypeAdapter[Any] = TypeAdapter(PositiveFloat)
_FRACTION: TypeAdapter[Any] = TypeAdapter(Fraction)
_TARGET: TypeAdapter[Any] = TypeAdapter(Target)

_REGISTERED = (
    Axis("patch_size", "side of a patch in pixels", _POSITIVE_INT, _at("model", "patch_size")),
    Axis("prediction", "what the network outputs: x, eps or v", _TARGET, _at("diffusion", "prediction")),
    Axis("loss", "the space of the squared error: x, eps or v", _TARGET, _at("diffusion", "loss")),
    Axis(
        "t_sampling",
        "distribution of t in training: logit_normal or uniform",
        TypeAdapter(Literal["logit_normal", "uniform"]),
        _put_t_sampling,
    ),
    Axis(
        "t_mu",
        "mean of logit(t), under logit_normal",
        TypeAdapter(FiniteFloat),
        _at("diffusion", "t_sampling", "mu"),
        _logit_normal,
    ),
    Axis(
        "t_sigma",
        "standard deviation of logit(t), under logit_normal",
        _POSITIVE,
        _at("diffusion", "t_sampling", "sigma"),
        _logit_normal,
    ),
    Axis("t_eps_train", "clamp on 1 - t in training; 0 is off", _FRACTION, _at("diffusion", "t_eps_train")),
    Axis("t_eps_sample", "clamp on 1 - t in sampling; 0 is off", _FRACTION, _at("t_eps_sample")),
    Axis("noise_scale", "standard deviation of the noise", _POSITIVE, _at("diffusion", "noise_scale")),
    Axis("learning_rate", "AdamW's learning rate", _POSITIVE, _at("optimiser", "learning_rate")),
    Axis("width", "token width", _POSITIVE_INT, _at("model", "width")),
    Axis("depth", "number of blocks", _POSITIVE_INT, _at("model", "depth")),
    Axis("bottleneck", "patch embedding's bottleneck; null is none", TypeAdapter(PositiveInt | None), _put_bottleneck),
)
AXES: dict[str, Axis] = {axis.name: axis for axis in _REGISTERED}


def put(recipe: Recipe, values: Mapping[str, AxisValue]) -> Cell:
    """A recipe with axis values put in, in registered order; values of axes that do not exist there are left out.

    ValueError: the values make no valid recipe.
    """
    tree = recipe.model_dump()
    taken: dict[str, AxisValue] = {}
    for name, axis in AXES.items():
        if name in values and axis.exists(tree):
            taken[name] = values[name]
            axis.put(tree, values[name])
    t_eps_sample = tree.pop("t_eps_sample", None)
    return Cell(Recipe.model_validate(tree), taken, t_eps_sample)
