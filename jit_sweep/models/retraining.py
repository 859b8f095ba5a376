"""A candidate's training on fresh seeds, as an ordinary sweep: with its ledger, its lanes and its way of going on."""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel

from jit_sweep.budget.costs import resources_of
from jit_sweep.budget.spending import HOUR_S, devices_of
from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.candidate import Candidate
from jit_sweep.plan.entry import Plan, recipe_id
from jit_sweep.results.convergence import LAST_RUNGS
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.stages import Grid, GridStage
from jit_sweep.spec.sweep import BESIDE_SCORES, SweepSpec
from search_spaces.recipe_axes import NAMES_A_STAGE, TRAINED
from trainables.config.evaluation import StageClassifier
from trainables.config.fields import content_hash
from trainables.config.recipe import StageParent

FIRST_FRESH = 1000
"""Sweeps count their seeds from 0: from here on they are unused, and equal for two models that are compared."""
MARK = "-fresh-"
LONGEST_STEM = 40
"""Of a sweep's name, which may have 63 characters."""


def fresh(used: Collection[int], count: int, *, first: int = FIRST_FRESH) -> tuple[int, ...]:
    """The first numbers from `first` on that nothing has used."""
    return tuple(itertools.islice((number for number in itertools.count(first) if number not in used), count))


def seeds_of(reader: LedgerReader, sweep: str) -> frozenset[int]:
    """Every seed that a sweep has ever trained with; of a retraining none, since nothing was chosen by its scores."""
    if MARK in sweep:
        return frozenset()
    return frozenset(row.seed for row in reader.entries(sweep, every=True))


def retraining(spec: SweepSpec, candidate: Candidate, *, seeds: Sequence[int], judged_by: SweepSpec, noise: int) -> SweepSpec:
    """The sweep that trains a candidate of `spec` on these seeds, and scores it as `judged_by` asks.

    `noise`: seed of the starting noise of its samples. The name is a hash of all of it, so that the same question finds the
    same trials.
    """
    unchanged = {"prediction": candidate.trial.entry.trial.diffusion.prediction}  # a grid has an axis, the baseline's arm none
    trial, baseline, own = candidate.trial.entry.trial, spec.baseline, dict(candidate.values)
    named = [axis for axis in NAMES_A_STAGE if axis in own]
    if named or baseline.space or isinstance(baseline.parent, StageParent):
        # What it builds on is trained already: of a stage that this sweep has not, the trial itself.
        for axis in (*named, "preset", "parent_part"):
            own.pop(axis, None)
        taken = {key: _plain(getattr(trial, key)) for key in TRAINED}
        baseline = baseline.model_copy(update={**taken, "parent": trial.parent})
    values = own or unchanged
    grid = Grid(axes={axis: (value,) for axis, value in values.items()}, seeds=tuple(seeds))
    guide = judged_by.evaluation.classifier
    if "classifier" in candidate.values or isinstance(guide, StageClassifier):
        guide = candidate.trial.entry.evaluation.classifier
    judged: dict[str, Any] = {"seed": noise, "tune": None, "at": spec.evaluation.at, "classifier": guide}
    judged |= {"classifier_scale": 1.0} if guide is None else {}
    evaluation = judged_by.evaluation.model_copy(update=judged)
    content = {
        "recipe": recipe_id(candidate.trial.entry.trial),
        "images": candidate.arm.images,
        "seeds": list(seeds),
        "evaluation": evaluation.model_dump(mode="json", exclude=BESIDE_SCORES),
        "objective": judged_by.objective,
    }
    return SweepSpec(
        name=f"{spec.name.partition(MARK)[0][:LONGEST_STEM]}{MARK}{content_hash(content)[:8]}",
        data=spec.data,
        baseline=baseline,
        stages=(GridStage(grid=grid),),
        objective=judged_by.objective,
        evaluation=evaluation,
        budget=Budget(images_per_trial=candidate.arm.images, rungs=max(LAST_RUNGS, spec.budget.rungs)),
        resources=spec.resources,
        storage=judged_by.storage,
        tracking=judged_by.tracking,
        ledger=judged_by.ledger,
    )


def _plain(part: Any) -> Any:
    """A part of a trial as a sweep file has it."""
    if isinstance(part, tuple):
        return tuple(_plain(each) for each in part)
    return part.model_dump(mode="json") if isinstance(part, BaseModel) else part


def question_of(reader: LedgerReader, project: str, retrained: str) -> int:
    """Which question of its project a retraining is, from 1: by when it began, the last where it has not."""
    begun = {row.name: row.created_at for row in reader.sweeps() if MARK in row.name and row.spec.get("project") == project}
    earlier = [name for name, at in begun.items() if retrained not in begun or at < begun[retrained]]
    return len(earlier) + 1


def check_same(plan: Plan, candidate: Candidate) -> None:
    """UserError: the retraining would train something else than the candidate."""
    wanted, got = recipe_id(candidate.trial.entry.trial), recipe_id(plan.entries[0].trial)
    if wanted != got:
        rule = f"a retraining must have the configuration that {candidate.sweep} trained ({wanted})"
        raise UserError(f"{rule}, got {got}; use the jit-sweep, the images and the device kind that it was run with")


def device_hours(reader: LedgerReader, candidate: Candidate, *, count: int) -> float | None:
    """What `count` more trainings of a candidate take, by those that have ended; None where none has."""
    trials = {trial.entry.trial_id for trial in candidate.arm.trials if trial.score is not None}
    spent = sum(row.seconds for row in reader.cost(candidate.sweep) if row.trial_id in trials and row.kind != "data")
    if not spent:
        return None
    return count * spent / len(trials) * devices_of(resources_of(reader.sweep(candidate.sweep).spec)) / HOUR_S
