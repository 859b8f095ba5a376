"""From a sweep file to the trials it means: every cell resolved and checked before anything is started."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

from jit_sweep.errors import UserError
from jit_sweep.plan.asked import trials_asked
from jit_sweep.plan.blindness import blindness_faults
from jit_sweep.plan.budget_buys import Speeds, budget_faults
from jit_sweep.plan.choice import ArmChoice
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.fault import Fault, by_reason
from jit_sweep.plan.grid import PlannedArms, planned_arms
from jit_sweep.plan.images import described
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import search_faults
from jit_sweep.plan.trial import batch_sizes
from jit_sweep.plan.waiting import WithArms, joined, planned_stage
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.mending import OF_DATA, PACKAGED
from jit_sweep.spec.sifted import Sifted
from jit_sweep.spec.stages import MOST_TRIALS, CellRule, GridStage, PlannedStage, Stage
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.presets import resolution_of
from trainables.config.evaluation_rules import check_heldout
from trainables.config.recipe import Recipe, default_precision
from trainables.data import DataDescription, describe


def plan(
    spec: SweepSpec, *, source: str, speeds: Speeds | None = None, promised: Mapping[str, int] = MappingProxyType({})
) -> Plan:
    """Resolve a sweep. `speeds`: of this machine, where arms are matched in device-seconds; `promised`: what they were given
    by the speeds of their launch.

    UserError: data, or a combination of axis values is unsound; all faults at once.
    """
    try:
        data = described(spec.data)
    except (OSError, ValueError) as error:
        raise UserError("\n".join([f"{source}: data: {error}", *_faults_on_any_data(spec, source=source)])) from None
    return _planned_on(Planner(spec, data, _baseline(spec), speeds, promised), source=source)


def planned_on(spec: SweepSpec, data: DataDescription, *, source: str) -> Plan:
    """The plan of a sweep on images of which the facts are known. UserError: as of `plan`."""
    return _planned_on(Planner(spec, data, _baseline(spec)), source=source)


def faults_beside(found: Sifted) -> list[str]:
    """What is wrong with the plan of a file that is unsound by itself, where that does not hang on what is wrong there."""
    if found.rest is None:
        return []
    try:
        plan(found.rest, source=found.source)
    except UserError as error:
        return [line for line in found.trusted(str(error).splitlines()) if line not in found.faults]
    return []


def _planned_on(planner: Planner, *, source: str) -> Plan:
    spec = planner.spec
    counts = [*preset_faults(planner), *count_faults(planner)]
    stages = _planned_stages(with_possible_counts(planner) if counts else planner)
    rest = [*stages.faults, *blindness_faults(planner, [*stages.entries, *stages.later])]
    rest += [] if counts else budget_faults(spec, [*stages.entries, *stages.later])
    _refuse([*map(str, counts), *by_reason(rest)], source=source)
    return Plan(
        spec=spec,
        data=planner.data,
        baseline=planner.baseline,
        entries=tuple(stages.entries),
        left_out=stages.left_out,
        choices=joined(stages.choices),
        later=tuple(stages.later),
    )


def _faults_on_any_data(spec: SweepSpec, *, source: str) -> list[str]:
    """What is wrong with a sweep whose data is away, as far as it has nothing to do with that: planned on the packaged set."""
    try:
        planned_on(spec, describe(PACKAGED), source=source)
    except UserError as error:
        return Sifted(None, source, unsure=OF_DATA).trusted(str(error).splitlines())
    return []


@dataclass
class _PlannedStages:
    """What all stages come to."""

    entries: list[Entry] = field(default_factory=list)
    later: list[Entry] = field(default_factory=list)
    choices: list[ArmChoice] = field(default_factory=list)
    left_out: dict[int, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def _planned_stages(planner: Planner) -> _PlannedStages:
    planned, trials = _PlannedStages(), 0
    for index, stage in enumerate(planner.spec.stages):
        try:
            trials += _trials_asked(stage)
            _refuse_too_many(trials)
            found = planned_stage(_with_arms(stage, index), planner=planner, stage=index)
            planned.choices += found.choices
            known = planned.later if found.choices else planned.entries
            known += found.planned.entries
            planned.faults += found.planned.faults
            planned.left_out |= {index: found.planned.left_out} if found.planned.left_out else {}
        except ValueError as error:
            planned.faults.append(Fault(f"stages[{index}]", str(error)))
    return planned


def _with_arms(stage: Stage, index: int) -> WithArms:
    """A stage's entries and faults, of a search its faults, by the planner that knows which earlier arms it builds on."""
    if isinstance(stage, PlannedStage):
        return lambda planner: planned_arms(stage.design, planner=planner, stage=index)
    return lambda planner: PlannedArms((), 0, tuple(search_faults(stage.search, planner=planner, stage=index)))


def _trials_asked(stage: Stage) -> int:
    """Trials that a stage plans, or asks a sampler for. ValueError: it has too many arms to count them."""
    if isinstance(stage, PlannedStage):
        return trials_asked(stage.design)
    return stage.search.trials * stage.search.seeds


def _refuse_too_many(trials: int) -> None:
    if trials > MOST_TRIALS:
        rule = f"a sweep must have at most {MOST_TRIALS} trials"
        raise ValueError(f"{rule}, got {trials} up to the end of this stage; take fewer seeds, or split the sweep")


def count_faults(planner: Planner) -> list[Fault]:
    """Counts that no trial of the sweep can have, whatever its axes: images in no whole batches, too many held-out ones."""
    spec, batch = planner.spec, planner.baseline.batch_size
    faults: list[Fault] = []
    if not batch_sizes(spec):
        faults = [
            Fault(key, f"must be a multiple of batch_size={batch}, got {images}; try {in_batches(images, batch)}")
            for key, images in _budgets(spec)
            if images % batch
        ]
        if batch % spec.resources.workers:
            faults.append(Fault("resources.workers", f"must divide batch_size={batch}, got {spec.resources.workers}"))
    try:
        check_heldout(spec.evaluation, heldout=planner.data.heldout_count)
    except ValueError as error:
        faults.append(Fault("evaluation.n", str(error)))
    return faults


def with_possible_counts(planner: Planner) -> Planner:
    """The same sweep with near counts in the place of those that `count_faults` names: what else is wrong shows."""
    spec, batch = planner.spec, planner.baseline.batch_size
    n = min(spec.evaluation.n, planner.data.heldout_count)
    changes: dict[str, Any] = {"evaluation": spec.evaluation.model_copy(update={"n": n})}
    if not batch_sizes(spec):
        changes["budget"] = _in_batches(spec.budget, batch)
        changes["stages"] = tuple(_stage_in_batches(stage, batch) for stage in spec.stages)
        if batch % spec.resources.workers:
            changes["resources"] = spec.resources.model_copy(update={"workers": 1})
    return replace(planner, spec=spec.model_copy(update=changes))


def _stage_in_batches(stage: Stage, batch: int) -> Stage:
    if not isinstance(stage, GridStage):
        return stage
    rules = tuple(_in_batches(rule, batch) for rule in stage.grid.cells)
    return stage.model_copy(update={"grid": stage.grid.model_copy(update={"cells": rules})})


Counted = TypeVar("Counted", Budget, CellRule)


def _in_batches(counted: Counted, batch: int) -> Counted:
    images = counted.images_per_trial
    return counted.model_copy(update={"images_per_trial": in_batches(images, batch)}) if images else counted


def in_batches(images: int, batch: int) -> int:
    """The nearest count of images that whole batches make."""
    return max(1, round(images / batch)) * batch


def preset_faults(planner: Planner) -> list[Fault]:
    """A fault where the preset is the recipe for images of another size."""
    name, size = planner.spec.baseline.preset, planner.data.image_size
    if resolution_of(name) in (None, size):
        return []
    rule = f"{name} is the official run on images of {resolution_of(name)} px"
    return [Fault("baseline.preset", f"{rule}, got images of {size} px; try {name.partition('@')[0]}")]


def _budgets(spec: SweepSpec) -> list[tuple[str, int]]:
    """Every count of images that the file gives trials, by its key."""
    rules = [rule for stage in spec.stages if isinstance(stage, GridStage) for rule in stage.grid.cells]
    given = [(rule.where, rule.images_per_trial) for rule in rules if rule.images_per_trial]
    own = [(f"cells.images_per_trial (where {where})", images) for where, images in given]
    return [("budget.images_per_trial", spec.budget.images_per_trial), *own]


def _baseline(spec: SweepSpec) -> Recipe:
    """With the precision of its trials, which belongs to the sweep's identity."""
    recipe = spec.baseline.recipe()
    return recipe.model_copy(update={"precision": recipe.precision or default_precision(spec.resources.device)})


def _refuse(reasons: Iterable[str], *, source: str) -> None:
    """UserError with all reasons, where there are any."""
    if lines := [f"{source}: {reason}" for reason in reasons]:
        raise UserError("\n".join(lines))
