"""A code that is to be near a teacher's tokens (VA-VAE): by its formulas, and as part of an autoencoder's training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.support.images import NoiseImages
from tests.support.teachers import teacher
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_judge
from trainables.config.trial import TrialConfig
from trainables.diffusion.alignment import of_places, of_two_places
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.cost import parameter_count, training_flops
from trainables.networks.memory import state_bytes
from trainables.networks.network import of_model
from trainables.networks.parts.projector import teacher_macs, teacher_parameters
from trainables.networks.registry import blank_model, build
from trainables.storage.checkpoint import Store
from trainables.training.batches import Batches
from trainables.training.encoders import encoder_weights
from trainables.training.learner import Learner
from trainables.training.step import image_losses
from trainables.training.workers import Workers

IMAGES = NoiseImages(24, size=SIZE, classes=CLASSES)
TRUNK = {"kind": "autoencoder", "width": 32, "multipliers": (1, 1)}


def aligned(folder: Path | None, *, code: str = "kl", **term: Any) -> TrialConfig:
    method = {"kind": "autoencoder", **({"alignment": {"teacher": teacher(folder), **term}} if folder else {})}
    return small_trial(small_model(trunk={**TRUNK, "code": {"kind": code}}), method=method)


def test_what_is_within_the_margins_costs_nothing() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    turned = torch.tensor([[[0.6, 0.8], [0.0, 1.0]]])
    assert of_places(x, turned, margin=0.4).item() == pytest.approx(0)
    assert of_places(x, turned, margin=0.0).item() == pytest.approx(0.4 / 2)
    assert of_places(x, -x, margin=0.5).item() == pytest.approx(1.5)
    assert of_two_places(x, turned, margin=0.8).item() == pytest.approx(0)
    assert of_two_places(x, turned, margin=0.25).item() == pytest.approx(2 * (0.8 - 0.25) / 4)
    assert of_two_places(x, 3 * x @ torch.tensor([[0.0, 1.0], [1.0, 0.0]]), margin=0.0).item() == pytest.approx(0)


@pytest.mark.parametrize("code", ["kl", "vq"])
@torch.no_grad()
def test_the_term_is_of_the_code_in_the_teachers_width_at_its_places(tmp_path: Path, code: str) -> None:
    trial = aligned(tmp_path, code=code, weight=2.0, margin_of_place=0.1, margin_of_two=0.05)
    network, given = build(trial), Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4)
    assert isinstance(network, Autoencoder)
    places = (SIZE // 2) ** 2
    assert given.truths["alignment"].shape == (4, places, 64)
    said = network.auxiliary["alignment"](network.coded(given.x, given.e).code).flatten(2).mT
    ours, true = F.normalize(said, dim=-1), F.normalize(given.truths["alignment"], dim=-1)
    place = (0.9 - (ours * true).sum(-1)).clamp_min(0).mean(1)
    two = ((ours @ ours.mT - true @ true.mT).abs() - 0.05).clamp_min(0).mean((1, 2))
    inputs = network, given.x, given.e, given.t, given.y, 0.05, None
    network.trial = aligned(None, code=code)
    without = image_losses(*inputs)
    network.trial = trial
    torch.testing.assert_close(image_losses(*inputs, given.truths), without + 2.0 * (place + two), rtol=1e-5, atol=1e-5)
    assert (place + two).min() > 0.01


def test_what_it_trains_beside_the_autoencoder_is_counted_and_is_no_part_of_a_model(tmp_path: Path) -> None:
    plain, trial = aligned(None), aligned(tmp_path)
    (vision,) = trial.teachers
    beside = 4 * 64
    assert parameter_count(trial) == parameter_count(plain) + beside == sum(p.numel() for p in build(trial).parameters())
    assert state_bytes(trial) > state_bytes(plain) + 4 * teacher_parameters(vision)
    more = training_flops(trial, images=1) - training_flops(plain, images=1)
    assert more > 2 * teacher_macs(vision)
    assert {name for name, _ in blank_model(trial).named_parameters()} == {n for n, _ in build(plain).named_parameters()}
    assert trial.id != plain.id


def test_training_draws_the_code_to_the_teacher_and_another_trial_sees_codes_of_it(tmp_path: Path) -> None:
    trial = aligned(tmp_path, weight=5.0, margin_of_place=0.0, margin_of_two=0.0)
    made = Learner(trial, IMAGES, workers=Workers())
    before = made.parts()["model"]["auxiliary.alignment.weight"].clone()
    for _ in range(3):
        made.update()
    assert not torch.equal(made.parts()["model"]["auxiliary.alignment.weight"], before)
    store = Store(str(tmp_path / "store"))
    store.write(trial.id, attempt=1, images=3 * trial.batch_size, tensors=made.parts(), state={"final": True})
    encoder = {"kind": "trial", "trial": trial.id, "images": 3 * trial.batch_size, "weights": trial.rung_weights}
    space = {"kind": "latent", "encoder": encoder, "trunk": trial.model.trunk.model_dump()}
    found = encoder_weights(small_trial(space=space), str(tmp_path / "store"))
    assert found.keys() == of_model(found).keys() == dict(blank_model(trial).named_parameters()).keys()


def test_the_teacher_does_not_judge_and_sees_images(tmp_path: Path) -> None:
    trial, judge = aligned(tmp_path), teacher(tmp_path)
    features = {"kind": "dinov2", "weights": judge["weights"], "sha256": judge["sha256"]}
    with pytest.raises(ValueError, match="must not be the teacher of the term alignment"):
        check_judge(trial, EvaluationConfig.model_validate({"features": features}))
    with pytest.raises(ValueError, match="the term alignment shows a teacher images of 1 or 3 channels"):
        TrialConfig.model_validate({**trial.model_dump(), "data": {**trial.data.model_dump(), "channels": 2}})
