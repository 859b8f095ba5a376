"""The entries of a grid or an ablation: each of its arms, with every seed."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jit_sweep.plan.entry import Entry
from jit_sweep.plan.fault import Fault, missing_axes
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.refusals import refusals
from jit_sweep.plan.tuning import tuning_of
from jit_sweep.spec.axis_spaces import Range
from jit_sweep.spec.seeds import RacingSeeds, first_seeds
from jit_sweep.spec.stages import CellRule, Design, Grid
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label, put
from search_spaces.quantities import excess

MOST_COMBINATIONS = 4096


@dataclass(frozen=True)
class PlannedArms:
    """What a grid or an ablation comes to."""

    entries: tuple[Entry, ...]
    """Those within its limits."""
    left_out: int
    """Cells above its limits."""
    faults: tuple[Fault, ...]


def planned_arms(design: Design, *, planner: Planner, stage: int) -> PlannedArms:
    """Every arm of a grid or an ablation that makes a trial, and a fault for each that makes none.

    ValueError: there are more than MOST_COMBINATIONS arms.
    """
    key = f"stages[{stage}].{planner.places[stage].word}"
    limits = design.limits if isinstance(design, Grid) else {}
    runs: dict[tuple[str, int], Entry] = {}
    within: dict[tuple[str, int], Entry] = {}
    faults: list[Fault] = []
    cells: list[Mapping[str, AxisValue]] = []
    tuned: list[Mapping[str, AxisValue]] = []
    for values in _cells(design):
        protected = _is_contrasted(design, values)
        cell, images = None, _images(design, values) or planner.spec.budget.images_per_trial
        try:
            cell = put(planner.baseline, values)
            cells.append(cell.values)
            images = _images(design, values) or planner.images_of(cell, stage=stage)
            entry = planner.entry(cell, stage=stage, position=0, seed=0, images=images, protected=protected)
            is_within = not excess(limits, entry.trial, images=images)
            planned, seeds = [entry], seeds_of(design, values)
            if design.nuisance is not None:
                planned, seeds = tuning_of(design.nuisance, entry, planner), design.nuisance.tuning_seeds
                tuned += [each.arm for each in planned]
            for each, seed in itertools.product(planned, seeds):
                run = runs.setdefault((each.key, seed), each.with_seed(seed, position=len(runs)))
                _refuse_same_run(run, each)
                if is_within:
                    within.setdefault((each.key, seed), run)
        except ValueError as error:
            found = refusals(error, cell=cell, planner=planner, images=images)
            faults += Fault.of_cell(found, key=key, values=values)
    if cells:
        faults += missing_axes(design.axes, cells, key=key)
    if tuned and design.nuisance is not None:
        faults += missing_axes(design.nuisance.axes, tuned, key=f"{key}.nuisance")
    if runs and not within:
        rule = f"`limits` must leave some trials, got none of {len(runs)} within {limits_in_words(limits)}"
        faults.append(Fault(f"stages[{stage}]", f"{rule}; raise a limit"))
    left_out = {arm_label(entry.judged) for entry in runs.values()} - {arm_label(entry.judged) for entry in within.values()}
    return PlannedArms(tuple(within.values()), len(left_out), tuple(faults))


def _cells(design: Design) -> Iterator[dict[str, AxisValue]]:
    """The axis values of each arm, in the order of the plan."""
    return combinations(design.axes) if isinstance(design, Grid) else iter(design.arms.values())


def trials_asked(design: Design) -> int:
    """The most trials that all cells may come to. ValueError: there are more than MOST_COMBINATIONS arms."""
    if isinstance(design.seeds, RacingSeeds):
        return design.seeds.max * sum(1 for _ in _cells(design))
    tuning = design.nuisance.trials * design.nuisance.seeds if design.nuisance else 0
    return sum(len(seeds_of(design, values)) + tuning for values in _cells(design))


def _refuse_same_run(known: Entry, entry: Entry) -> None:
    """ValueError: two cells with other axis values resolve to one trial, scored in one way."""
    if known.arm != entry.arm:
        rule = f"cells must differ in what they train or how they are scored, got the same run as {known.label}"
        raise ValueError(f"{rule}; leave one of them out")


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


def limits_in_words(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={most:g}" for name, most in limits.items())


def _is_contrasted(design: Design, values: Mapping[str, AxisValue]) -> bool:
    """Whether the cell with these axis values is part of a planned contrast, as each arm of an ablation is."""
    if not isinstance(design, Grid):
        return True
    planned = [contrast for contrast in design.planned_contrasts() if len(design.axes[contrast.axis]) > 1]
    return any(_matches(contrast.where, values) for contrast in planned)


def seeds_of(design: Design, values: Mapping[str, AxisValue]) -> tuple[int, ...]:
    """The seeds that a cell is judged by, as the file has them first."""
    return next((rule.seeds for rule in _rules(design, values) if rule.seeds), first_seeds(design.seeds))


def _images(design: Design, values: Mapping[str, AxisValue]) -> int | None:
    return next((rule.images_per_trial for rule in _rules(design, values) if rule.images_per_trial), None)


def _rules(design: Design, values: Mapping[str, AxisValue]) -> list[CellRule]:
    """The rules for a cell; the last in the file comes first, since it counts."""
    return [rule for rule in reversed(design.cells if isinstance(design, Grid) else ()) if _matches(rule.where, values)]


def _matches(where: Mapping[str, AxisValue], values: Mapping[str, AxisValue]) -> bool:
    return all(axis in values and values[axis] == value for axis, value in where.items())
