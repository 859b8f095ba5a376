"""The teacher of the loss term `representation`: what it sees, what is found of it, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tests.support.images import NoiseImages
from tests.support.teachers import representation, teacher
from tests.support.trials import CLASSES, SIZE, lively, small_model, small_trial
from tests.unit.trainables.test_train import assignment, run
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_evaluation
from trainables.config.objective import TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.data import DataError
from trainables.evaluation.features.vit import normalised, vit_of
from trainables.networks.parts.projector import teacher_parameters
from trainables.training.batches import Batches
from trainables.training.step import image_losses
from trainables.training.teacher import regridded, teachers_of

IMAGES = NoiseImages(24, size=SIZE, classes=CLASSES)


def taught(folder: Path, *, model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(**(model or {})), diffusion={"terms": [representation(folder, **changes)]})


@torch.no_grad()
def test_the_term_is_the_distance_to_the_teacher_s_tokens_of_the_clean_image_as_it_is_trained_on(tmp_path: Path) -> None:
    trial = taught(tmp_path, block=2)
    network, given = lively(trial), Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4)
    vision = vit_of(load_file(tmp_path / "teacher.safetensors"))
    pixels = ((given.x + 1) * 127.5).round().to(torch.uint8)
    found = vision.patches(normalised(pixels, 16))
    torch.testing.assert_close(given.truths["representation"], found, rtol=1e-4, atol=1e-4)
    t = given.t.view(-1, 1, 1, 1)
    tokens = network.tapped(t * given.x + (1 - t) * given.e, given.t, given.y).tokens["representation"]
    said = network.auxiliary["representation"](tokens)
    cosine = (F.normalize(said, dim=-1) * F.normalize(found, dim=-1)).sum(-1).mean(1)
    inputs = network, given.x, given.e, given.t, given.y, 0.05, None
    network.trial = trial.model_copy(update={"diffusion": trial.diffusion.model_copy(update={"terms": ()})})
    plain = image_losses(*inputs)
    network.trial = trial
    torch.testing.assert_close(image_losses(*inputs, given.truths), plain + 0.5 * (1 - cosine), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_patch_tokens_stand_beside_the_class_token_under_the_last_norm(tmp_path: Path) -> None:
    teacher(tmp_path)
    vision = vit_of(load_file(tmp_path / "teacher.safetensors"))
    images = torch.randn(2, 3, 16, 16)
    patches = vision.patches(images)
    assert patches.shape == (2, 16, 64)
    assert not torch.equal(patches[:, 0], vision(images))
    turned = vision.patches(images.flip(0))
    torch.testing.assert_close(turned.flip(0), patches)


def test_another_grid_is_reached_by_averages_downwards_and_lines_upwards() -> None:
    tokens = torch.arange(16.0).view(1, 16, 1)
    assert regridded(tokens, grid=4) is tokens
    coarse = regridded(tokens, grid=2).view(2, 2)
    assert coarse.mean() == pytest.approx(7.5)
    assert (coarse[1] - coarse[0]).tolist() == pytest.approx([4 * (coarse[0, 1] - coarse[0, 0]).item()] * 2)
    assert regridded(tokens, grid=1).item() == pytest.approx(7.5)
    corner = F.one_hot(torch.tensor([[0]]), 64).float().mT
    assert regridded(corner, grid=2)[0, 0] > 0
    fine = regridded(tokens, grid=8).view(8, 8)
    assert (fine[0, 0].item(), fine[7, 7].item()) == (0, 15)
    assert fine[1].diff()[1:-1].tolist() == pytest.approx([0.5] * 5)


@pytest.mark.parametrize("patch", [2, 8, 16])
def test_a_network_of_any_grid_has_as_many_tokens_to_find(tmp_path: Path, patch: int) -> None:
    trial = taught(tmp_path, model={"patch_size": patch})
    given = Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 3)
    assert given.truths["representation"].shape == (3, (SIZE // patch) ** 2, 64)


def test_the_teacher_is_frozen_and_counted_whole(tmp_path: Path) -> None:
    said = TeacherConfig.model_validate(teacher(tmp_path / "deeper", depth=2))
    network = teachers_of(taught(tmp_path, teacher=said.model_dump()), device="cpu")[said]
    own = sum(p.numel() for name, p in network.named_parameters() if name != "pos_embed")
    assert teacher_parameters(said) == own
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


def test_a_file_of_another_hash_or_size_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    def outcome(**said: Any) -> None:
        term = {"kind": "representation", "teacher": teacher(tmp_path / "files", **said)}
        plain = assignment(tmp_path / "store", steps=1)
        trial = TrialConfig.model_validate({**plain.trial.model_dump(), "diffusion": {"terms": [term]}})
        run(plain.model_copy(update={"trial": trial}))

    with pytest.raises(DataError, match="must have SHA-256 0000"):
        outcome(sha256="0" * 64)
    with pytest.raises(DataError, match=r"must say its network's sizes.*got width=128 \(64 in the file\), mlp=512 \(256 in"):
        outcome(width=128)
    outcome()


def test_a_network_that_scores_is_no_teacher(tmp_path: Path) -> None:
    trial = taught(tmp_path)
    said = teacher(tmp_path)
    features = {"kind": "vit", "weights": "elsewhere.safetensors", "sha256": said["sha256"]}
    same = EvaluationConfig.model_validate({"features": features, "weights": "raw"})
    with pytest.raises(ValueError, match=r"`evaluation.features` must not be the teacher.*got weights with SHA-256 .* as both"):
        check_evaluation(trial, same, images=400)
    check_evaluation(small_trial(), same, images=400)
    check_evaluation(trial, same.model_copy(update={"features": "efflite0"}), images=400)


def test_what_no_teacher_can_see_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs its teacher, got none; try \{kind: representation, teacher: \{weights: FILE"):
        small_trial(diffusion={"terms": [{"kind": "representation"}]})
    terms = {"terms": [representation(tmp_path)]}
    with pytest.raises(ValueError, match=r"images of 1 or 3 channels.*got channels=4, dimensions=None, graphs=false"):
        small_trial(data=small_trial().data.model_copy(update={"channels": 4}), diffusion=terms)
    with pytest.raises(ValueError, match=r"got channels=3, dimensions=None, graphs=true; try graphs=false"):
        small_trial(diffusion=terms, graphs=True, device="cuda", precision="bf16")


def test_a_teacher_is_known_by_its_content_and_not_by_where_it_lies(tmp_path: Path) -> None:
    here, there = taught(tmp_path / "a"), taught(tmp_path / "b")
    assert here != there
    assert here.id == there.id
    other = representation(tmp_path, teacher={**teacher(tmp_path), "sha256": "0" * 64})
    assert small_trial(diffusion={"terms": [other]}).id != here.id
