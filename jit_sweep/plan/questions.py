"""The questions that a sweep is there to answer: contrasts of its arms, fixed before anything is scored.

By default each level of an axis stands against the baseline's level within a patch size, the other axes at the baseline's
level; where two axes cross, one difference of differences is asked for each pair of levels.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, Self

from jit_sweep.plan.entry import Plan
from jit_sweep.spec.stages import BASELINE, Grid, GridStage, PlannedContrast
from search_spaces.axes import AxisValue, arm_label, recipe_values
from trainables.config.fields import Frozen, content_hash

PATCH_SIZE = "patch_size"
"""Never the axis of a contrast: arms of different patch sizes differ in cost and in how fast they converge."""
Cell = Mapping[str, AxisValue]
"""An arm by the values of its axes."""


class Question(Frozen):
    """A contrast: the weights of some arms, which sum to zero."""

    kind: Literal["contrast", "interaction"]
    axes: tuple[str, ...]
    """One; of an interaction two."""
    cells: tuple[dict[str, AxisValue], ...]
    """The arms that are asked about."""
    weights: tuple[float, ...]
    """One each: 1 and -1; of an interaction 1, -1, -1 and 1."""

    @classmethod
    def pair(cls, axis: str, cell: Cell, against: Cell) -> Self:
        """An arm against another one."""
        return cls(kind="contrast", axes=(axis,), cells=(dict(cell), dict(against)), weights=(1.0, -1.0))

    @cached_property
    def key(self) -> str:
        """Names the question, whatever the stage that its arms are of."""
        return content_hash(self.model_dump(mode="json", include={"cells", "weights"}))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Its arms in words."""
        return tuple(arm_label(cell) for cell in self.cells)

    @property
    def pair_labels(self) -> tuple[tuple[str, str], ...]:
        """The arms that are compared with each other: the one pair of a contrast, the two of an interaction."""
        return tuple(zip(self.labels[::2], self.labels[1::2], strict=True))

    @property
    def context(self) -> str:
        """What all its arms share, in words; empty where that is nothing."""
        first, *others = self.cells
        shared = {axis: value for axis, value in first.items() if all(_has(cell, axis, value) for cell in others)}
        return arm_label(shared) if shared else ""

    @property
    def label(self) -> str:
        """Such as `patch_size=16: prediction=x against v`, or `prediction=x against v, patch_size=16 against 8`."""
        asked = ", ".join(self._sides(axis) for axis in self.axes[::-1])
        return f"{self.context}: {asked}" if self.context else asked

    def _sides(self, axis: str) -> str:
        one, other = self.cells[0], self.cells[-1]
        return f"{arm_label({axis: one.get(axis)})} against {_value(other.get(axis))}"


def planned_questions(cells: Sequence[Cell], *, baseline: Cell, grid: Grid | None = None) -> tuple[Question, ...]:
    """What a stage asks of its arms, in the order of the plan, each once.

    Args:
        cells: the stage's arms, in the plan's order.
        baseline: the baseline's value of each axis.
        grid: what its file plans; None: the default.
    """
    contrasts, interactions = (grid.contrasts, grid.interactions) if grid is not None else (None, None)
    named = {planned.axis: planned.against for planned in contrasts or () if planned.against != BASELINE}
    levels = Levels(cells, reference={**baseline, **named})
    asked = [*_default_contrasts(levels)] if contrasts is None else [q for each in contrasts for q in _contrasts(levels, each)]
    if interactions is None and contrasts is None:
        interactions = tuple(itertools.combinations(levels.crossed, 2))
    asked += _interactions(levels, interactions or ())
    return tuple({question.key: question for question in asked}.values())


class Levels:
    """The arms of a stage, and the level of each axis that the others are compared with: the given one, else the first."""

    def __init__(self, cells: Sequence[Cell], *, reference: Cell) -> None:
        self.cells = tuple(cells)
        axes = dict.fromkeys(axis for cell in cells for axis in cell)
        self.of = {axis: list(dict.fromkeys(cell[axis] for cell in cells if axis in cell)) for axis in axes}
        self.reference = {
            axis: reference[axis] if reference.get(axis, _ABSENT) in of else of[0] for axis, of in self.of.items()
        }

    @property
    def crossed(self) -> list[str]:
        """The axes of several levels, the patch size first."""
        return sorted((axis for axis, values in self.of.items() if len(values) > 1), key=lambda axis: axis != PATCH_SIZE)

    def at_reference(self, *, but: set[str]) -> list[Cell]:
        """The arms whose every axis but some has the level that others are compared with."""
        return [c for c in self.cells if all(value == self.reference[axis] for axis, value in c.items() if axis not in but)]


def _default_contrasts(levels: Levels) -> Iterator[Question]:
    for axis in levels.crossed:
        if axis != PATCH_SIZE:
            yield from _against(levels.at_reference(but={axis, PATCH_SIZE}), axis, levels.reference[axis])


def _contrasts(levels: Levels, planned: PlannedContrast) -> Iterator[Question]:
    among = [cell for cell in levels.cells if all(_has(cell, axis, value) for axis, value in planned.where.items())]
    if planned.axis != PATCH_SIZE:
        against = levels.reference[planned.axis] if planned.against == BASELINE else planned.against
        yield from _against(among, planned.axis, against)


def _against(cells: Sequence[Cell], axis: str, level: AxisValue) -> Iterator[Question]:
    """Each arm against the first that has this level and agrees with it in every other axis that both have."""
    partners = [cell for cell in cells if _has(cell, axis, level)]
    for cell in (cell for cell in cells if axis in cell and cell[axis] != level):
        if partner := next((other for other in partners if _agree(cell, other, but={axis})), None):
            yield Question.pair(axis, cell, partner)


def _interactions(levels: Levels, crossed: Iterable[tuple[str, str]]) -> Iterator[Question]:
    """Of each pair of axes and of their levels, the difference of differences from where both are at the reference."""
    for axes in crossed:
        first, second = axes
        at = {(cell[first], cell[second]): cell for cell in levels.at_reference(but={*axes}) if {*axes} <= cell.keys()}
        low = levels.reference[first], levels.reference[second]
        for one, other in itertools.product(levels.of[first], levels.of[second]):
            corners = [(one, other), (one, low[1]), (low[0], other), low]
            if one != low[0] and other != low[1] and all(corner in at for corner in corners):
                cells = tuple(dict(at[corner]) for corner in corners)
                yield Question(kind="interaction", axes=axes, cells=cells, weights=(1.0, -1.0, -1.0, 1.0))


_ABSENT = object()


def _has(cell: Cell, axis: str, value: AxisValue) -> bool:
    return cell.get(axis, _ABSENT) == value


def _agree(one: Cell, other: Cell, *, but: set[str]) -> bool:
    return all(one[axis] == other[axis] for axis in one.keys() & other.keys() if axis not in but)


def questions_of(plan: Plan) -> dict[int, tuple[Question, ...]]:
    """What the grids of a plan ask, by stage."""
    cells: dict[int, dict[str, Cell]] = {}
    for entry in plan.entries:
        cells.setdefault(entry.stage, {}).setdefault(entry.label, entry.arm)
    baseline = recipe_values(plan.baseline)
    grids = {stage: each.grid for stage, each in enumerate(plan.spec.stages) if isinstance(each, GridStage)}
    return {stage: planned_questions(list(of.values()), baseline=baseline, grid=grids[stage]) for stage, of in cells.items()}


def _value(value: AxisValue) -> str:
    return "none" if value is None else str(value)
