"""Every axis trains, samples and is scored on a CPU, and changes what comes out of it."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from search_spaces.axes import AXES
from search_spaces.cells import put
from tests.support.trained import EVALUATION, image_file
from tests.support.trials import CLASSES, SIZE, trial_of_recipe
from tests.unit.plan.test_plan import UNDER, VALUES, recipe_for
from trainables.config.average import MODEL, OPTIMISER, RAW
from trainables.config.evaluation import EvaluationConfig
from trainables.config.recipe import Recipe
from trainables.config.trial import DataConfig
from trainables.data import describe, open_images
from trainables.evaluation.evaluator import Evaluator
from trainables.training.learner import Learner
from trainables.training.workers import Workers

UPDATES = 6
"""From where adaLN is zero at first, the third is the first that moves every parameter."""
SMALL: dict[str, Any] = {
    "width": 32,
    "patch_size": 4,
    "batch_size": 16,
    "learning_rate": 0.01,
    "bottleneck": 8,
    "class_tokens": 0,
    "class_copies": 1,
    "token_head_width": 24,
    "token_head_blocks": 1,
    "decoder_width": 24,
    "decoder_depth": 1,
    "decoder_heads": 1,
    "head_steps": 3,
    "token_limit": 0.5,
    "contrast_group": 8,
    "projector_width": 48,
    "projected_width": 16,
}
"""Of these axes a recipe takes what exists there."""
OTHERWISE: dict[str, Any] = {"width": 48, "learning_rate": 0.02, "t_eps_train": 0.6, "t_eps_sample": 0.3}
"""In place of values that are too large for a small network, or that few draws and few steps do not come to."""
ELSEWHERE = {
    "attention": "the same product by another kernel, equal to rounding (networks/test_jit.py)",
    "classifier": "needs a trained classifier in a storage (methods/test_guiding.py)",
    "interval": "of guidance alone, which is off here (diffusion/test_sampler.py)",
    "classifier_scale": "needs a trained classifier in a storage (methods/test_guiding.py)",
    "encoder": "needs a trained autoencoder in a storage (training/test_latents.py)",
    "parent": "needs a trained parent in a storage (training/test_parent_parts.py)",
    "parent_part": "`parent.parts`, which says the same (training/test_parent_parts.py)",
    "latent_sample": "needs a trained autoencoder in a storage (training/test_latents.py)",
    "latent_quantise": "the same (training/test_latents.py)",
    "residual": "of autocast alone, which fp32 has none of (networks/test_jit.py)",
}


class Outcome(NamedTuple):
    """What a trial comes to."""

    weights: tuple[Tensor, ...]
    samples: Tensor
    values: dict[str, float]


@cache
def outcome(folder: Path, recipe: Recipe, cell_values: tuple[tuple[str, Any], ...]) -> Outcome:
    """Train a small network at a cell's values, draw from it and score it."""
    cell, at = put(recipe, dict(cell_values)), image_file(folder)
    data = DataConfig(digest=describe(at.address).digest, image_size=SIZE, num_classes=CLASSES)
    trial, images = trial_of_recipe(cell.recipe, data=data, precision="fp32"), open_images(at.address)
    learner = Learner(trial, images, workers=Workers())
    for _ in range(UPDATES):
        learner.update()
    parts = {RAW if name == MODEL else name: tensors for name, tensors in learner.parts().items() if name != OPTIMISER}
    clamp = {"t_eps_sample": trial.diffusion.t_eps_train, "weights": trial.rung_weights}
    evaluation = EvaluationConfig.model_validate({**EVALUATION.model_dump(), "steps": 6, **clamp, **cell.evaluation})
    evaluator = Evaluator(trial, parts, images, cache=str(folder / "store"))
    samples = torch.cat(list(evaluator.samples(evaluation))) if trial.draws else torch.empty(0)
    return Outcome(tuple(parts[RAW].values()), samples, evaluator.evaluate(evaluation).scores.values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("axes")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*AXES} - {*ELSEWHERE}))
def test_an_axis_trains_samples_is_scored_and_changes_something(name: str, folder: Path) -> None:
    staged = {"patch_size": 2} if name == "path" or "path" in UNDER.get(name, {}) else {}
    small = SMALL if name != "preset" else {key: value for key, value in SMALL.items() if key != "patch_size"}
    under, recipe = {**small, **staged, **UNDER.get(name, {})}, recipe_for(name, folder)
    base = outcome(folder, recipe, tuple(under.items()))
    other = outcome(folder, recipe, tuple({**under, name: OTHERWISE.get(name, VALUES[name])}.items()))
    assert all(torch.isfinite(tensor).all() for tensor in other.weights)
    assert name in ("path", "method") or other.values.keys() == base.values.keys()
    assert other.samples.shape == base.samples.shape
    if put(recipe, {**UNDER.get(name, {}), name: VALUES[name]}).evaluation:
        assert all(map(torch.equal, other.weights, base.weights))
        assert not torch.equal(other.samples, base.samples)
    else:
        assert [t.shape for t in other.weights] != [t.shape for t in base.weights] or not all(
            map(torch.equal, other.weights, base.weights)
        )


def test_what_is_shown_elsewhere_is_an_axis_and_the_place_is_there() -> None:
    assert ELSEWHERE.keys() <= AXES.keys()
    for axis, why in ELSEWHERE.items():
        file = Path(__file__).parents[1] / "trainables" / why.rpartition("(")[2].rstrip(")")
        assert axis in file.read_text()
