"""What the planned questions of a sweep will be able to tell, before anything is trained."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jit_sweep.plan.entry import Plan
from jit_sweep.plan.questions import Question, questions_of
from jit_sweep.plan.races import races
from jit_sweep.plan.tuned_arms import seeds_to_judge
from jit_sweep.statistics.power import Precision, detectable_gap, planned_precision
from jit_sweep.statistics.sequential import Looks
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.registry import has_score

LEAST_SEEDS = 3
"""Shared by the arms of a question: of fewer there is no verdict."""


class Prospect(NamedTuple):
    """A planned question and what its seeds can tell."""

    question: Question
    seeds: int
    """That all its arms have; where they race, the most."""
    residual_dof: int
    """Of the spread of all arms of its stage."""
    family: int
    """Questions that are answered together."""
    alpha: float
    """Of the last look, where seeds race."""
    is_scored: bool
    """Whether the objective is a score of the trials of all its arms."""
    stage: int
    """Of its arms."""

    @property
    def is_decidable(self) -> bool:
        return self.seeds >= LEAST_SEEDS and self.is_scored

    def gap(self, *, sigma: float) -> float:
        """The difference that is seen four times in five, where one seed spreads by sigma."""
        return detectable_gap(self.precision(sigma=sigma), alpha=self.alpha, family=self.family)

    def precision(self, *, sigma: float) -> Precision:
        return planned_precision(self.question.weights, sigma=sigma, seeds=self.seeds, residual_dof=self.residual_dof)

    def with_seeds(self, seeds: int, *, arms: int) -> "Prospect":
        """The same question where every arm of its stage has so many seeds."""
        return self._replace(seeds=seeds, residual_dof=(arms - 1) * (seeds - 1))


def prospects(plan: Plan) -> tuple[Prospect, ...]:
    """The planned questions of all grids; those that cannot be decided have no place in the family."""
    found = [prospect for stage, asked in questions_of(plan).items() for prospect in _of_stage(plan, stage, asked)]
    family = sum(prospect.is_decidable for prospect in found)
    return tuple(prospect._replace(family=max(1, family)) for prospect in found)


def arms_of(plan: Plan, stage: int) -> int:
    """Arms of a grid."""
    return len(seeds_to_judge(plan, stage))


def images_of_a_seed(plan: Plan, stage: int) -> int:
    """What one more seed of every arm of a grid trains on."""
    return sum({arm_label(entry.judged): entry.images for entry in plan.whole if entry.stage == stage}.values())


def _of_stage(plan: Plan, stage: int, asked: Sequence[Question]) -> Iterator[Prospect]:
    seeds, race = seeds_to_judge(plan, stage), races(plan).get(stage)
    if race is not None:
        seeds = {label: {*range(race.max)} for label in seeds}
    alpha = plan.spec.alpha if race is None else Looks(race.looks).level(-1, alpha=plan.spec.alpha)
    kinds = {arm_label(entry.judged): entry.trial.error_kind for entry in plan.whole if entry.stage == stage}
    scored = {label for label, kind in kinds.items() if has_score(kind, plan.spec.objective)}
    trials, distinct = sum(map(len, seeds.values())), len(set().union(*seeds.values()))
    for question in asked:
        shared = set.intersection(*(seeds[label] for label in question.labels))
        yield Prospect(
            question, len(shared), trials - len(seeds) - distinct + 1, 1, alpha, scored.issuperset(question.labels), stage
        )
