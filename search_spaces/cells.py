"""From axis values to a recipe, and back."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from search_spaces.axes import AXES
from search_spaces.axis import AxisValue, Tree
from trainables.config.evaluation import EvaluationConfig
from trainables.config.recipe import Recipe
from trainables.config.trial import TrialConfig

_ABSENT = object()


@dataclass(frozen=True)
class Cell:
    """A recipe with a cell's axis values put in, the values that exist there, and the part of them that only evaluates."""

    recipe: Recipe
    values: dict[str, AxisValue] = field(default_factory=dict)
    evaluation: dict[str, AxisValue] = field(default_factory=dict)
    """Settings of the evaluation that the axes replace, by field."""


def in_order(names: Collection[str]) -> list[str]:
    """Axes as registered, so that each comes after those its existence depends on."""
    return [name for name in AXES if name in names]


def arm_label(arm: Mapping[str, AxisValue]) -> str:
    """An arm in words, such as `patch_size=16 prediction=x`; a value of no named axis is a word by itself."""
    told = ((f"{axis}=" if axis else "", "none" if value is None else value) for axis, value in arm.items())
    return " ".join(f"{axis}{value}" for axis, value in told) or "baseline"


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


def values_in(trial: TrialConfig, arm: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """The value of every axis of an arm's trial: a preset's too, and those that only the arm says, such as whose codes it
    sees."""
    return {**recipe_values(trial), **arm}


def differing_axes(values: Sequence[Mapping[str, AxisValue]]) -> set[str]:
    """The axes along which arms differ, those that exist in one alone among them."""
    return {axis for each in values for axis in each if any(other.get(axis, _ABSENT) != each[axis] for other in values)}


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
