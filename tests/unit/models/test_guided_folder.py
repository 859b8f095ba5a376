"""A model whose scored samples were guided by a classifier has it in its folder, and draws by it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jit_sweep.errors import UserError
from jit_sweep.models.images import images_of
from jit_sweep.models.model_folder import CONFIG, GUIDE, WEIGHTS, ModelFolderConfig, load_guide, load_network, read_config
from tests.support.classifiers import classifier
from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, moved, small_trial
from trainables.config.evaluation import EvaluationConfig, GuidingClassifier
from trainables.evaluation.evaluator import Evaluator
from trainables.evaluation.generate import generate


def written(folder: Path, **changes: object) -> ModelFolderConfig:
    """The files of a small model, with a classifier that guides it."""
    trial, guide = small_trial(), classifier()
    told = {"sampler": "euler", "steps": 4, "weights": "raw", "classifier": {"trial": guide.id, "images": 8}, **changes}
    config = ModelFolderConfig(trial=trial, evaluation=EvaluationConfig.model_validate(told), guide=guide)
    (folder / CONFIG).write_text(config.model_dump_json())
    save_file(dict(moved(trial).named_parameters()), folder / WEIGHTS)
    save_file(dict(moved(guide).named_parameters()), folder / GUIDE)
    return config


def test_a_folders_images_are_guided_as_its_scores_were(tmp_path: Path) -> None:
    config = written(tmp_path)
    network, guide = load_network(tmp_path), load_guide(tmp_path)
    assert read_config(tmp_path) == config
    drawn = images_of(network, config, guide=guide, n=4, seed=1)
    evaluation = config.evaluation.model_copy(update={"n": 4, "seed": 1})
    own = moved(classifier()).requires_grad_(False)
    assert torch.equal(drawn, generate(moved(config.trial), config.trial, evaluation, torch.arange(4), guide=own))
    off = evaluation.model_copy(update={"classifier": None})
    assert not torch.equal(drawn, generate(network, config.trial, off, torch.arange(4)))


def test_an_evaluator_takes_the_classifier_that_is_at_hand(tmp_path: Path) -> None:
    config = written(tmp_path)
    own, weights = load_guide(tmp_path), {"raw": load_network(tmp_path).state_dict()}
    images = NoiseImages(24, size=SIZE, classes=CLASSES)
    evaluator = Evaluator(config.trial, weights, images, cache=str(tmp_path / "elsewhere"), guide=own)
    assert evaluator._guide(config.evaluation) is own
    named = GuidingClassifier(trial="0" * 12, images=8)
    with pytest.raises(ValueError, match="got none of 000000000000; train it there first"):
        evaluator._guide(config.evaluation.model_copy(update={"classifier": named}))


def test_a_classifier_that_is_gone_is_missed(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / GUIDE).unlink()
    with pytest.raises(UserError, match="a champion's files must fit its config.json, got"):
        load_guide(tmp_path)
