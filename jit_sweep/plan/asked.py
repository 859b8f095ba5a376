"""What a grid or an ablation asks for, as its file has it: its cells, their seeds and their images."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jit_sweep.spec.axis_spaces import Range
from jit_sweep.spec.seeds import RacingSeeds, first_seeds
from jit_sweep.spec.stages import CellRule, Design, Grid
from search_spaces.axis import AxisValue

MOST_COMBINATIONS = 4096


def cells_of(design: Design) -> Iterator[dict[str, AxisValue]]:
    """The axis values of each arm, in the order of the plan."""
    return combinations(design.axes) if isinstance(design, Grid) else iter(design.arms.values())


def trials_asked(design: Design) -> int:
    """The most trials that all cells may come to. ValueError: there are more than MOST_COMBINATIONS arms."""
    if isinstance(design.seeds, RacingSeeds):
        return design.seeds.max * sum(1 for _ in cells_of(design))
    tuning = design.nuisance.trials * design.nuisance.seeds if design.nuisance else 0
    return sum(len(seeds_of(design, values)) + tuning for values in cells_of(design))


def combinations(axes: Mapping[str, Any]) -> Iterator[dict[str, AxisValue]]:
    """Every combination of the axes' values (a range's are its ends), the first axis slowest.

    ValueError: there are more than MOST_COMBINATIONS.
    """
    ends = [(space.low, space.high) if isinstance(space, Range) else space for space in axes.values()]
    count = math.prod(len(values) for values in ends)
    if count > MOST_COMBINATIONS:
        raise ValueError(
            f"the axes must have at most {MOST_COMBINATIONS} combinations, got {count}; split the stage or search it"
        )
    for values in itertools.product(*ends):
        yield dict(zip(axes, values, strict=True))


def seeds_of(design: Design, values: Mapping[str, AxisValue]) -> tuple[int, ...]:
    """The seeds that a cell is judged by, as the file has them first."""
    return next((rule.seeds for rule in _rules(design, values) if rule.seeds), first_seeds(design.seeds))


def images_asked(design: Design, values: Mapping[str, AxisValue]) -> int | None:
    """What the last rule for a cell gives it to train on; None: no rule does."""
    return next((rule.images_per_trial for rule in _rules(design, values) if rule.images_per_trial), None)


def _rules(design: Design, values: Mapping[str, AxisValue]) -> list[CellRule]:
    """The rules for a cell; the last in the file comes first, since it counts."""
    return [rule for rule in reversed(design.cells if isinstance(design, Grid) else ()) if is_where(rule.where, values)]


def is_where(where: Mapping[str, AxisValue], values: Mapping[str, AxisValue]) -> bool:
    """Whether a cell has all these values."""
    return all(axis in values and values[axis] == value for axis, value in where.items())
