"""The searches of a sweep: whether their spaces hold trials, and how many they bring."""

from collections.abc import Mapping

from jit_sweep.plan.asked import combinations
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.fault import Fault, missing_axes
from jit_sweep.plan.grid import limits_in_words
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.refusals import refusals
from jit_sweep.spec.stages import SearchSpec, SearchStage
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, arm_label, put
from search_spaces.quantities import excess


def searches(spec: SweepSpec) -> dict[int, SearchSpec]:
    """The sweep's searches by stage."""
    return {index: stage.search for index, stage in enumerate(spec.stages) if isinstance(stage, SearchStage)}


def search_faults(search: SearchSpec, *, planner: Planner, stage: int) -> list[Fault]:
    """A fault for each combination of choices and of ranges' ends that makes no valid trial from the baseline, and one where
    none of them is within the limits. A proposal between the ends, or from another cell, that makes none is never made.

    ValueError: there are more than MOST_COMBINATIONS of them.
    """
    images, key = planner.spec.budget.images_per_trial, f"stages[{stage}].search"
    faults: list[Fault] = []
    over: list[bool] = []
    cells: list[Mapping[str, AxisValue]] = []
    for values in combinations(search.axes):
        cell = None
        try:
            cell = put(planner.baseline, values)
            cells.append(cell.values)
            planner.earlier.check_order(cell, stage=stage)
            trial = planner.trial(cell, seed=search.seed, images=images)
            planner.evaluation(cell, trial, images=images)
            over.append(bool(excess(search.limits, trial, images=images)))
        except ValueError as error:
            found = refusals(error, cell=cell, planner=planner, images=images)
            faults += Fault.of_cell(found, key=key, values=values)
    if cells and search.start == "baseline":
        faults += missing_axes(search.axes, cells, key=key)
    if over and all(over) and search.start == "baseline":
        rule = "`limits` must leave some trials, got none at the ends of the axes within"
        faults.append(Fault(key, f"{rule} {limits_in_words(search.limits)}; raise a limit"))
    return faults


def proposals(plan: Plan) -> dict[int, int]:
    """How many trials each search brings, by stage: what it asks for, or as many as a space of choices only has."""
    return {stage: _proposals(plan, search) * search.seeds for stage, search in searches(plan.spec).items()}


def _proposals(plan: Plan, search: SearchSpec) -> int:
    if not all(isinstance(space, tuple) for space in search.axes.values()):
        return search.trials
    planner = Planner.of(plan)
    cells = [put(plan.baseline, values) for values in combinations(search.axes)]
    return min(search.trials, len({arm_label(cell.values) for cell in cells if _may_be_proposed(search, cell, planner)}))


def _may_be_proposed(search: SearchSpec, cell: Cell, planner: Planner) -> bool:
    """Whether a cell is within the limits, as far as that is known before the cell that a search starts from."""
    if search.start == "best_cell" or not search.limits:
        return True
    images = planner.spec.budget.images_per_trial
    return not excess(search.limits, planner.trial(cell, seed=search.seed, images=images), images=images)
