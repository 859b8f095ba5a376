"""From a recipe to the trial of a sweep, and to the evaluation that scores it."""

import math
from typing import Any

from pydantic import ValidationError

from jit_sweep.spec.stages import SearchStage
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.cells import Cell
from trainables.config.budget_rules import check_budget
from trainables.config.evaluation import EvaluationConfig, GuidingClassifier
from trainables.config.evaluation_rules import check_evaluation, weight_names
from trainables.config.optimiser import Cosine, WarmupEpochs, WarmupShare
from trainables.config.recipe import Recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.config.tuning import Tuning
from trainables.data import DataDescription

LEAST_APART = 2
"""Held-out images of which one can be mistaken for another."""


def trial_of(recipe: Recipe, *, spec: SweepSpec, data: DataDescription, seed: int, images: int) -> TrialConfig:
    """A recipe on a sweep's data, trained to `images`. ValueError: they do not fit."""
    check_batch(recipe, spec=spec, images=images)
    trial = TrialConfig.model_validate(trial_fields(recipe, spec=spec, data=data, seed=seed, images=images))
    check_budget(trial, images=images)
    if trial.method.kind == "encoder_pretraining" and data.heldout_count < LEAST_APART:
        rule = f"`method` encoder_pretraining is measured by telling held-out images apart, of which it needs {LEAST_APART}"
        raise ValueError(f"{rule}, got {data.heldout_count}; raise `data.holdout`")
    return trial


def trial_fields(recipe: Recipe, *, spec: SweepSpec, data: DataDescription, seed: int, images: int) -> dict[str, Any]:
    """What a trial holds, each part of it sound by itself."""
    config = DataConfig(
        digest=data.digest,
        image_size=data.image_size,
        channels=data.channels,
        num_classes=data.num_classes,
        flip=spec.data.flip,
    )
    optimiser = recipe.optimiser.model_copy(update={"warmup_images": warmup_of(recipe, images=images, epoch=data.train_count)})
    if isinstance(optimiser.schedule, Cosine) and optimiser.schedule.total_images is None:
        schedule = optimiser.schedule.model_copy(update={"total_images": images})
        optimiser = optimiser.model_copy(update={"schedule": schedule})
    device = spec.resources.device
    return {**dict(recipe), "optimiser": optimiser, "data": config, "seed": seed, "device": device}


def warmup_of(recipe: Recipe, *, images: int, epoch: int) -> int:
    """A recipe's warm-up in images, for a trial of `images` on a training split of `epoch`."""
    match recipe.optimiser.warmup_images:
        case WarmupEpochs(epochs=epochs):
            return round(epochs * epoch)
        case WarmupShare(share=share):
            return round(share * images)
        case given:
            return given


def evaluation_of(
    trial: TrialConfig, *, cell: Cell, spec: SweepSpec, images: int, classifier: GuidingClassifier | None
) -> EvaluationConfig:
    """A cell's evaluation after `images`, guided by this classifier: its own settings, else the sweep's, else what the trial
    has.

    ValueError: the trial cannot be scored so.
    """
    sweeps = spec.evaluation.resolved(t_eps_sample=trial.diffusion.t_eps_train, weights=trial.rung_weights)
    evaluation = EvaluationConfig.model_validate({**sweeps.model_dump(), **cell.evaluation, "classifier": classifier})
    check_evaluation(trial, evaluation, images=images)
    if spec.evaluation.tune is not None and trial.draws:
        _check_tuning(spec.evaluation.tune, trial, evaluation, images=images)
    return evaluation


def _check_tuning(tuning: Tuning, trial: TrialConfig, evaluation: EvaluationConfig, *, images: int) -> None:
    """ValueError: a setting that may be chosen could not be scored."""
    try:
        for each in tuning.each_alone(evaluation, weights=weight_names(trial)):
            check_evaluation(trial, each, images=images)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValueError(f"`evaluation.tune`: {error}") from error


def update_unit(spec: SweepSpec, batch_size: int) -> int:
    """Images that are a whole number of updates at this batch size, and at every other that the sweep's axes give."""
    return math.lcm(batch_size, *batch_sizes(spec))


def batch_sizes(spec: SweepSpec) -> set[int]:
    """Every batch size that a stage's axes give."""
    axes = [stage.search.axes if isinstance(stage, SearchStage) else stage.design.axes for stage in spec.stages]
    spaces = [given["batch_size"] for given in axes if "batch_size" in given]
    return {size for space in spaces if isinstance(space, tuple) for size in space}


def check_batch(recipe: Recipe, *, spec: SweepSpec, images: int) -> None:
    """An axis may bring a batch size that the budget and the workers do not fit. ValueError: this one is such."""
    workers, batch_size, unit = spec.resources.workers, recipe.batch_size, recipe.unit
    if images % batch_size:
        rule = "`images_per_trial` must be a multiple of batch_size"
        updates = update_unit(spec, batch_size)
        nearest_multiple = max(1, round(images / updates)) * updates
        raise ValueError(f"{rule}, got {images}, batch_size={batch_size}; try {nearest_multiple}")
    if batch_size % workers:
        raise ValueError(f"`workers` must divide batch_size, got workers={workers}, batch_size={batch_size}")
    share, micro = batch_size // workers, spec.resources.micro_batch
    uneven = share % unit.images or (micro is not None and min(micro, share) % unit.images)
    if batch_size % unit.images == 0 and uneven:
        rule = f"a worker's share of a batch, and `micro_batch`, must be multiples of {unit.of}"
        raise ValueError(
            f"{rule}, got {share} images a worker, micro_batch={'null' if micro is None else micro}, {unit}; try fewer workers"
        )
