"""The entries of a grid or an ablation: each of its arms, with every seed."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from jit_sweep.plan.asked import cells_of, images_asked, is_where, seeds_of
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.fault import Fault, missing_axes
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.refusals import refusals
from jit_sweep.plan.tuning import tuning_of
from jit_sweep.spec.stages import Design, Grid
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label, put
from search_spaces.quantities import excess


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
    for values in cells_of(design):
        named = planner.earlier.is_built_on(planner.spec.stages[stage].name, values)
        protected = named or _is_contrasted(design, values)
        cell, images = None, images_asked(design, values) or planner.spec.budget.images_per_trial
        try:
            cell = put(planner.baseline, values)
            cells.append(cell.values)
            images = images_asked(design, values) or planner.images_of(cell, stage=stage)
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


def _refuse_same_run(known: Entry, entry: Entry) -> None:
    """ValueError: two cells with other axis values resolve to one trial, scored in one way."""
    if known.arm != entry.arm:
        rule = f"cells must differ in what they train or how they are scored, got the same run as {known.label}"
        raise ValueError(f"{rule}; leave one of them out")


def limits_in_words(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={most:g}" for name, most in limits.items())


def _is_contrasted(design: Design, values: Mapping[str, AxisValue]) -> bool:
    """Whether the cell with these axis values is part of a planned contrast, as each arm of an ablation is."""
    if not isinstance(design, Grid):
        return True
    planned = [contrast for contrast in design.planned_contrasts() if len(design.axes[contrast.axis]) > 1]
    return any(is_where(contrast.where, values) for contrast in planned)
