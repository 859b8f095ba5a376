"""The stages of a plan whose seeds race: how much they take at least and at most."""

from typing import NamedTuple

from jit_sweep.plan.entry import Plan
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import PlannedStage


class RaceRange(NamedTuple):
    """What a stage trains at least, and at most, by how soon its questions are decided."""

    stage: int
    least_seeds: int
    most_seeds: int
    least_trials: int
    most_trials: int
    least_images: int
    most_images: int

    def __str__(self) -> str:
        trials = f"{self.least_trials:,} to {self.most_trials:,} trials"
        images = f"{self.least_images:,} to {self.most_images:,} images"
        race = f"{self.least_seeds} to {self.most_seeds} seeds an arm, {trials}, {images}"
        return f"{race}; an arm without an open question gets no more"


def races(plan: Plan) -> dict[int, RacingSeeds]:
    """The seeds of each stage that race, by stage."""
    designs = {stage: each.design for stage, each in enumerate(plan.spec.stages) if isinstance(each, PlannedStage)}
    return {stage: design.seeds for stage, design in designs.items() if isinstance(design.seeds, RacingSeeds)}


def race_ranges(plan: Plan) -> list[RaceRange]:
    """The range of each of them."""
    return [_range(plan, stage, race) for stage, race in races(plan).items()]


def _range(plan: Plan, stage: int, race: RacingSeeds) -> RaceRange:
    a_seed = [entry for entry in plan.whole if entry.stage == stage and entry.seed == 0]
    arms, images = len(a_seed), sum(entry.images for entry in a_seed)
    return RaceRange(stage, race.min, race.max, arms * race.min, arms * race.max, images * race.min, images * race.max)
