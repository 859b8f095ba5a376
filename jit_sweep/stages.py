"""The stages of a sweep file: grids, and searches. Free of torch and Ray."""

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from search_spaces.axes import AXES, AxisValue
from trainables.fields import FiniteFloat, Frozen, NonNegativeInt, PositiveInt


def _sound_axes(axes: dict[str, Any]) -> dict[str, Any]:
    """The axes with their values checked; every fault of every axis in one ValueError."""
    sound, faults = dict[str, Any](), list[str]()
    for name, values in axes.items():
        try:
            sound[name] = _space(name, values)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(faults))
    return sound


def _space(name: str, values: Any) -> Any:
    if name not in AXES:
        near = difflib.get_close_matches(name, AXES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(AXES)}"
        raise ValueError(f"an axis must be a registered one, got {name!r}; {hint}")
    if isinstance(values, Range):
        return values.model_copy(update={end: AXES[name].check(getattr(values, end)) for end in ("low", "high")})
    if not values:
        raise ValueError(f"axis `{name}` must have at least one value, got none")
    checked = tuple(AXES[name].check(value) for value in values)
    if len(set(checked)) < len(checked):
        raise ValueError(f"axis `{name}` must not repeat a value, got {list(values)}")
    return checked


def _seed_list(seeds: Any) -> Any:
    return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds


def _distinct_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("`seeds` must be a positive count or a list of seeds, got none")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must not repeat, got {list(seeds)}")
    return seeds


def key_of(*keys: str) -> Discriminator:
    """Tells variants apart by the one key each must have."""

    def which(value: Any) -> str | None:
        for key in keys:
            if (isinstance(value, dict) and key in value) or hasattr(value, key):
                return key
        return None

    return Discriminator(
        which,
        custom_error_type="variant_key",
        custom_error_message="must be a mapping with one of the keys {keys}",
        custom_error_context={"keys": ", ".join(keys)},
    )


def _shape_of_axis(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


Number = Annotated[int, Field(strict=True)] | FiniteFloat
Choices = tuple[Any, ...]
"""Values of an axis; `_sound_axes` checks each by the axis's own rule and leaves `AxisValue`s."""
Seeds = Annotated[tuple[NonNegativeInt, ...], BeforeValidator(_seed_list), AfterValidator(_distinct_seeds)]


class CellRule(Frozen):
    """Other seeds or another budget for the cells where the axes have these values."""

    where: Annotated[dict[str, AxisValue], Field(min_length=1)]
    seeds: Seeds | None = None
    images_per_trial: PositiveInt | None = None


class PlannedContrast(Frozen):
    """A question that the sweep is there to answer: arms that differ in this axis alone are never stopped early."""

    axis: str
    where: dict[str, AxisValue] = {}
    """Only among the cells where the axes have these values."""


class Grid(Frozen):
    """Every combination of the axes' values, each with every seed."""

    axes: Annotated[dict[str, Choices], Field(min_length=1), AfterValidator(_sound_axes)]
    seeds: Seeds = (0,)
    cells: tuple[CellRule, ...] = ()
    contrasts: tuple[PlannedContrast, ...] | None = None
    """None: every axis but the patch size where there are several seeds, which are there for a verdict; else none."""

    def planned_contrasts(self) -> tuple[PlannedContrast, ...]:
        """The contrasts whose arms are never stopped early."""
        if self.contrasts is not None:
            return self.contrasts
        several = len(self.seeds) > 1 or any(len(rule.seeds or ()) > 1 for rule in self.cells)
        return tuple(PlannedContrast(axis=axis) for axis in self.axes if axis != "patch_size") if several else ()

    @model_validator(mode="after")
    def cells_name_grid_values(self) -> Self:
        for rule in self.cells:
            for axis, value in rule.where.items():
                if axis not in self.axes or value not in self.axes[axis]:
                    given = {name: list(values) for name, values in self.axes.items()}
                    raise ValueError(f"`where` must name a value of this grid's axes {given}, got {axis}={value!r}")
        return self

    @model_validator(mode="after")
    def contrasts_name_grid_axes(self) -> Self:
        for contrast in self.contrasts or ():
            for axis in (contrast.axis, *contrast.where):
                if axis not in self.axes:
                    raise ValueError(f"`contrasts` must name axes of this grid, {', '.join(self.axes)}, got {axis!r}")
        return self


class Range(Frozen):
    """A continuous or integer interval to search, both ends included."""

    low: Number
    high: Number
    log: bool = False
    """Sample uniformly in the logarithm."""

    @model_validator(mode="after")
    def range_is_ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be positive on a logarithmic range, got low={self.low}")
        return self


AxisSpace = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_shape_of_axis)]


class SearchSpec(Frozen):
    """Trials that a sampler proposes, one after the other, from what it has seen."""

    start: Annotated[Literal["baseline", "best_cell"], Field(alias="from")] = "baseline"
    """What a proposal changes: the sweep's baseline, or the best cell of the stages before."""
    sampler: Literal["tpe", "random", "gp"] = "tpe"
    trials: PositiveInt
    axes: Annotated[dict[str, AxisSpace], Field(min_length=1), AfterValidator(_sound_axes)]
    seed: NonNegativeInt = 0
    """Of the sampler, and of every trial it proposes."""


class GridStage(Frozen):
    grid: Grid


class SearchStage(Frozen):
    search: SearchSpec


Stage = Annotated[Annotated[GridStage, Tag("grid")] | Annotated[SearchStage, Tag("search")], key_of("grid", "search")]
