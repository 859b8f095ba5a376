"""Stages whose arms are tuned: what they train once each arm's best setting is known."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jit_sweep.plan.asked import seeds_of
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.tuning import tuned_at
from jit_sweep.spec.nuisance import Nuisance
from jit_sweep.spec.stages import Design, PlannedStage
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label, put
from trainables.config.fields import counted


def tunings(plan: Plan) -> dict[int, Nuisance]:
    """How the arms of a stage are tuned, by stage."""
    designs = {stage: design.nuisance for stage, design in _designs(plan).items()}
    return {stage: nuisance for stage, nuisance in designs.items() if nuisance is not None}


def tuned_arms(plan: Plan, stage: int, settings: Mapping[str, Mapping[str, AxisValue]]) -> list[Entry]:
    """The trials of a stage's arms, each at its own setting, with the stage's seeds, by the arm's label."""
    planner, design = Planner.of(plan), _designs(plan)[stage]
    tuning = [entry for entry in plan.whole if entry.stage == stage and entry.origin == "tuning"]
    found: list[Entry] = []
    for first in {arm_label(entry.judged): entry for entry in tuning}.values():
        cell = put(planner.baseline, first.judged)
        arm = planner.entry(cell, stage=stage, position=0, seed=0, images=first.images, protected=first.protected)
        tuned = tuned_at(settings[arm.label], arm, planner)
        for seed in seeds_of(design, arm.arm):
            found.append(tuned.with_seed(seed, position=len(tuning) + len(found)))
    return found


def seeds_to_judge(plan: Plan, stage: int) -> dict[str, set[int]]:
    """The seeds that each arm of a stage is judged by, by the arm's label."""
    own = [entry for entry in plan.whole if entry.stage == stage]
    if stage in tunings(plan):
        return {arm_label(entry.judged): {*seeds_of(_designs(plan)[stage], entry.judged)} for entry in own}
    seeds: dict[str, set[int]] = {}
    for entry in own:
        seeds.setdefault(entry.label, set()).add(entry.seed)
    return seeds


def still_to_come(plan: Plan) -> list[Entry]:
    """The trials of the stages that wait for the best arm of another, as they would cost most; and those of all arms that are
    to be tuned, at the middle of the settings, which costs what each of them costs."""
    tuned = [
        entry
        for stage, nuisance in tunings(plan).items()
        for entry in tuned_arms(plan, stage, dict.fromkeys(seeds_to_judge(plan, stage), nuisance.settings[0]))
    ]
    return [*plan.later, *tuned]


class TuningCost(NamedTuple):
    """What a stage with tuned arms trains."""

    stage: int
    axes: tuple[str, ...]
    settings: int
    tuning_seeds: int
    tuning_trials: int
    tuning_images: int
    fresh_trials: int
    fresh_images: int

    def __str__(self) -> str:
        seeds = counted(self.tuning_seeds, "tuning seed")
        tried = f"each arm is tried at {self.settings} settings of {' and '.join(self.axes)} with {seeds}"
        tuning = f"{counted(self.tuning_trials, 'trial')}, {self.tuning_images:,} images"
        fresh = f"{counted(self.fresh_trials, 'trial')} with fresh seeds, {self.fresh_images:,} images"
        return f"{tried} ({tuning}), then judged at its best ({fresh})"


def tuning_costs(plan: Plan) -> Iterator[TuningCost]:
    """What the tuning of each stage costs, and what comes after it."""
    later = still_to_come(plan)
    for stage, nuisance in tunings(plan).items():
        tuning = [entry for entry in plan.whole if entry.stage == stage]
        fresh = [entry for entry in later if entry.stage == stage and entry.origin == "grid"]
        counts = len(tuning), sum(e.images for e in tuning), len(fresh), sum(e.images for e in fresh)
        yield TuningCost(stage, tuple(nuisance.axes), nuisance.trials, nuisance.seeds, *counts)


def _designs(plan: Plan) -> dict[int, Design]:
    return {stage: each.design for stage, each in enumerate(plan.spec.stages) if isinstance(each, PlannedStage)}
