"""The questions that a sweep is there to answer: contrasts of its arms, fixed before anything is scored.

By default each level of an axis stands against the baseline's level within a patch size, the other axes at the baseline's
level; where two axes cross, one difference of differences is asked for each pair of levels. What an ablation asks follows
from its kind.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, Self

from jit_sweep.plan.entry import Plan
from jit_sweep.spec.ablations import Ablation
from jit_sweep.spec.nuisance import Nuisance
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import BASELINE, Design, PlannedContrast, PlannedStage, StageMatched
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label, recipe_values
from trainables.config.fields import Frozen, content_hash

PATCH_SIZE = "patch_size"
"""No axis of a contrast unless it is named: arms of different patch sizes differ in cost and in how fast they converge."""
Cell = Mapping[str, AxisValue]
"""An arm by the values of its axes."""


class Question(Frozen):
    """A contrast: the weights of some arms, which sum to zero."""

    kind: Literal["contrast", "interaction", "main_effect"]
    axes: tuple[str, ...]
    """What its arms differ in: of a grid's contrast one, of its interaction two."""
    cells: tuple[dict[str, AxisValue], ...]
    """The arms that are asked about."""
    weights: tuple[float, ...]
    """One each: 1 and -1; of an interaction 1, -1, -1 and 1; where it is a mean over other changes, shares of these."""
    name: str = ""
    """Of a question of an ablation."""
    looks: tuple[int, ...] = ()
    """Counts of seeds after which it is looked at, where its arms' seeds race: as much a part of it as its arms are."""
    nuisance: Nuisance | None = None
    """How its arms are tuned before they are compared, where they are: a part of it too."""
    matched: StageMatched | None = None
    """What its arms were given the same of, where their stage says so; equal FLOPs are a part of it too."""
    apart: tuple[str, ...] = ()
    """Axes that one of its arms alone has, by which it is told in words from another question of the stage."""

    @classmethod
    def pair(cls, axes: tuple[str, ...], cell: Cell, against: Cell, *, name: str = "") -> Self:
        """An arm against another one."""
        return cls(kind="contrast", axes=axes, cells=(dict(cell), dict(against)), weights=(1.0, -1.0), name=name)

    @cached_property
    def key(self) -> str:
        """Names the question, whatever the stage that its arms are of."""
        own = {"cells", "weights", *(name for name in ("looks", "nuisance") if getattr(self, name))}
        own |= {"matched"} if self.matched == "flops" else set()  # equal images is what a question means that says nothing
        return content_hash(self.model_dump(mode="json", include=own))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Its arms in words."""
        return tuple(arm_label(cell) for cell in self.cells)

    @property
    def context(self) -> str:
        """What all its arms share, in words; empty where that is nothing."""
        first, *others = self.cells
        shared = {axis: value for axis, value in first.items() if all(_has(cell, axis, value) for cell in others)}
        return arm_label(shared) if shared else ""

    @property
    def label(self) -> str:
        """Such as `patch_size=16: prediction=x against v`, or `prediction=x against v, patch_size=16 against 8`; of an
        ablation `wide: width=256 against without`. Where its stage says what its arms have the same of, so does this."""
        if self.name:
            return f"{self.name}: {self._of_ablation}{self._at_equal}"
        one, other = self.cells[0], self.cells[-1]
        of_one, of_other = self._of_its_own(0), self._of_its_own(-1)
        asked = ", ".join(
            f"{arm_label({axis: one.get(axis)})}{of_one} against {_value(other.get(axis))}{of_other}"
            for axis in self.axes[::-1]
        )
        return f"{self.context}: {asked}{self._at_equal}" if self.context else f"{asked}{self._at_equal}"

    def side(self, cell: int) -> str:
        """What one of its arms is in the axes of the question, such as `prediction=x`."""
        given = {axis: self.cells[cell][axis] for axis in self.axes if axis in self.cells[cell]}
        return f"{arm_label(given)}{self._of_its_own(cell)}" if given else "without"

    def _of_its_own(self, cell: int) -> str:
        """Such as ` (token_limit=3.0)`."""
        given = {axis: self.cells[cell][axis] for axis in self.apart if axis in self.cells[cell]}
        return f" ({arm_label(given)})" if given else ""

    @property
    def in_words(self) -> str:
        """Such as `Is prediction=x better or worse than prediction=v at patch_size=16?`, or `Does the effect of prediction=x
        against v differ between patch_size=16 and 8?`."""
        if self.kind == "interaction":
            return f"Does the effect of {self.effect} differ {self.places('between', 'and')}{self._at_equal}?"
        where = f" at {self.context}" if self.context else ""
        over = ", on average over the rest" if self.kind == "main_effect" else ""
        return f"Is {self.side(0)} better or worse than {self.side(-1)}{where}{over}{self._at_equal}?"

    @property
    def effect(self) -> str:
        """Of an interaction, what has another effect elsewhere; such as `prediction=x against v`."""
        if self.name:
            return self.name.split(" x ")[0]
        axis = self.axes[1]
        return f"{arm_label({axis: self.cells[0][axis]})} against {_value(self.cells[-1][axis])}"

    def places(self, one: str, other: str) -> str:
        """Of an interaction, where its effect differs, between these words; such as `at patch_size=16 than at 8`."""
        if self.name:
            joint = "and" if other == "and" else "than"
            return f"with {self.name.split(' x ')[1]} {joint} without"
        place = self.axes[0]
        shared = f" ({self.context})" if self.context else ""
        return f"{one} {arm_label({place: self.cells[0][place]})} {other} {_value(self.cells[-1][place])}{shared}"

    @property
    def _at_equal(self) -> str:
        return "" if self.matched is None else f", at equal {'FLOPs' if self.matched == 'flops' else self.matched}"

    @property
    def _of_ablation(self) -> str:
        if self.kind == "interaction":
            return "interaction"
        return f"{self.side(0)} against {self.side(-1)}{' over the rest' if self.kind == 'main_effect' else ''}"


def planned_questions(
    cells: Sequence[Cell], *, baseline: Cell, design: Design | None = None, matched: StageMatched | None = None
) -> tuple[Question, ...]:
    """What a stage asks of its arms, in the order of the plan, each once.

    Args:
        cells: the stage's arms, in the plan's order.
        baseline: the baseline's value of each axis.
        design: what its file plans; None: the default of a grid.
        matched: what its arms are given the same of, where the stage itself says so.
    """
    asked = _asked(cells, baseline=baseline, design=design)
    looks = design.seeds.looks if design is not None and isinstance(design.seeds, RacingSeeds) else ()
    how = {"looks": looks, "nuisance": design.nuisance if design is not None else None, "matched": matched}
    if any(how.values()):
        asked = (question.model_copy(update=how) for question in asked)
    return tuple(_told_apart({question.key: question for question in asked}.values()))


def _told_apart(questions: Iterable[Question]) -> Iterator[Question]:
    """Those that would be called the same name what their arms have of their own and the others' have otherwise."""
    alike: dict[str, list[Question]] = {}
    for question in (asked := [*questions]):
        alike.setdefault(question.label, []).append(question)
    for question in asked:
        same = alike[question.label]
        varying = _varying([cell for each in same for cell in each.cells]) if len(same) > 1 else ()
        own = tuple(axis for axis in varying if axis not in question.axes and not all(axis in cell for cell in question.cells))
        yield question.model_copy(update={"apart": own}) if own else question


def _varying(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The axes that cells which have them have different values of."""
    values: dict[str, set[AxisValue]] = {}
    for axis, value in (pair for cell in cells for pair in cell.items()):
        values.setdefault(axis, set()).add(value)
    return tuple(axis for axis, of in values.items() if len(of) > 1)


def _asked(cells: Sequence[Cell], *, baseline: Cell, design: Design | None) -> Iterable[Question]:
    if isinstance(design, Ablation):
        return _of_ablation(cells, design)
    contrasts, interactions = (design.contrasts, design.interactions) if design is not None else (None, None)
    named = {planned.axis: planned.against for planned in contrasts or () if planned.against != BASELINE}
    levels = Levels(cells, reference={**baseline, **named})
    asked = [*_default_contrasts(levels)] if contrasts is None else [q for each in contrasts for q in _contrasts(levels, each)]
    if interactions is None and contrasts is None:
        interactions = tuple(itertools.combinations(levels.crossed, 2))
    return [*asked, *_interactions(levels, interactions or ())]


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
    against = levels.reference[planned.axis] if planned.against == BASELINE else planned.against
    yield from _against(among, planned.axis, against)


def _against(cells: Sequence[Cell], axis: str, level: AxisValue) -> Iterator[Question]:
    """Each arm against the first that has this level and agrees with it in every other axis that both have."""
    partners = [cell for cell in cells if _has(cell, axis, level)]
    for cell in (cell for cell in cells if axis in cell and cell[axis] != level):
        if partner := next((other for other in partners if _agree(cell, other, but={axis})), None):
            yield Question.pair((axis,), cell, partner)


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


def _of_ablation(cells: Sequence[Cell], ablation: Ablation) -> Iterator[Question]:
    """What an ablation's kind asks, then what its file asks besides; nothing where arms are missing."""
    if len(cells) != len(ablation.combinations):
        return
    at = dict(zip(ablation.combinations, cells, strict=True))
    named = dict(zip(ablation.arms, cells, strict=True))
    match ablation.kind:
        case "factorial":
            yield from _factorial(at, tuple(ablation.changes))
        case "ladder":
            for below, step in itertools.pairwise(at):
                yield _arm_against(step[-1], at[step], at[below])
        case "leave_one_out":
            for name, (_, without) in zip(ablation.changes, list(named.items())[1:], strict=True):
                yield _arm_against(name, cells[0], without)
        case "one_at_a_time":
            for name in ablation.changes:
                yield _arm_against(name, named[name], cells[0])
    for name, contrast in (ablation.contrasts or {}).items():
        yield _arm_against(name, named[contrast.arm], named[contrast.against])


def _arm_against(name: str, cell: Cell, against: Cell) -> Question:
    return Question.pair(_differing(cell, against), cell, against, name=name)


def _factorial(at: Mapping[tuple[str, ...], Cell], names: tuple[str, ...]) -> Iterator[Question]:
    """Each change's main effect over the rest, and each pair's difference of differences over the rest."""
    for name in names:
        cells = _with_and_without(at, names, (name,))
        weights = tuple(sign / (len(cells) // 2) for sign in (1, -1) * (len(cells) // 2))
        kind: Literal["contrast", "main_effect"] = "main_effect" if len(names) > 1 else "contrast"
        axes = _differing(cells[0], cells[1])
        yield Question(kind=kind, axes=axes, cells=cells, weights=weights, name=name)
    for one, other in itertools.combinations(names, 2):
        cells = _with_and_without(at, names, (one, other))
        weights = tuple(sign / (len(cells) // 4) for sign in (1, -1, -1, 1) * (len(cells) // 4))
        axes = _differing(cells[0], cells[3])
        yield Question(kind="interaction", axes=axes, cells=cells, weights=weights, name=f"{one} x {other}")


def _with_and_without(
    at: Mapping[tuple[str, ...], Cell], names: tuple[str, ...], asked: tuple[str, ...]
) -> tuple[dict[str, AxisValue], ...]:
    """The arms with and without some changes, the first of them slowest, for every combination of the others."""
    rest = [name for name in names if name not in asked]
    combinations = (
        {*itertools.compress(rest, others), *itertools.compress(asked, on)}
        for others in itertools.product((False, True), repeat=len(rest))
        for on in itertools.product((True, False), repeat=len(asked))
    )
    return tuple(dict(at[tuple(name for name in names if name in made_of)]) for made_of in combinations)


def _differing(one: Cell, other: Cell) -> tuple[str, ...]:
    """The axes that two arms have different values of, or that one of them leaves as the baseline has them."""
    return tuple(axis for axis in {**one, **other} if one.get(axis, _ABSENT) != other.get(axis, _ABSENT))


_ABSENT = object()


def _has(cell: Cell, axis: str, value: AxisValue) -> bool:
    return cell.get(axis, _ABSENT) == value


def _agree(one: Cell, other: Cell, *, but: set[str]) -> bool:
    return all(one[axis] == other[axis] for axis in one.keys() & other.keys() if axis not in but)


def questions_of(plan: Plan) -> dict[int, tuple[Question, ...]]:
    """What the grids and ablations of a plan ask, by stage."""
    cells: dict[int, dict[str, Cell]] = {}
    for entry in plan.whole:
        cells.setdefault(entry.stage, {}).setdefault(arm_label(entry.judged), entry.judged)
    baseline = recipe_values(plan.baseline)
    planned = {stage: each for stage, each in enumerate(plan.spec.stages) if isinstance(each, PlannedStage)}
    return {
        stage: planned_questions(
            list(of.values()), baseline=baseline, design=planned[stage].design, matched=planned[stage].matched
        )
        for stage, of in cells.items()
    }


def _value(value: AxisValue) -> str:
    return "none" if value is None else str(value)
