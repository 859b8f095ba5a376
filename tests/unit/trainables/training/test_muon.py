"""Muon: which matrices it takes, cut into which pieces, and that it resumes to the bit."""

from typing import Any

import pytest
import torch

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import small_model, small_trial
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import ImageSet, open_images
from trainables.networks.cost import hidden_matrices, training_flops
from trainables.networks.registry import build
from trainables.training.learner import Learner
from trainables.training.muon import Muon, pieces_in
from trainables.training.workers import Workers


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)


def muon_trial(images: ImageSet, **changes: Any) -> TrialConfig:
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    optimiser = {"method": "muon", "learning_rate": 1e-3, "weight_decay": 0.1, "grad_clip": 1.0}
    model = small_model(patch_size=16, **changes)
    return small_trial(model, data=data, optimiser=optimiser, batch_size=4)


def test_each_of_q_k_and_v_and_of_the_modulation_is_orthogonalised_by_itself() -> None:
    network = build(small_trial())
    optimiser = Muon(network, OptimiserConfig(method="muon", learning_rate=1.0, momentum=0.5))
    parameter = network.get_parameter("blocks.0.attention.qkv.weight")
    before = parameter.detach().clone()
    sizes = torch.tensor([1.0, 10.0, 100.0]).repeat_interleave(48)[:, None]
    parameter.grad = sizes * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    optimiser.step()
    for piece in (before - parameter.detach()).chunk(3):
        scaled = piece / (0.2 * 48**0.5)
        assert torch.linalg.svdvals(scaled).min() > 0.3
        assert torch.linalg.svdvals(scaled).max() < 1.4
    assert pieces_in("modulation.weight", network.get_parameter("modulation.weight")) == 6 * 4 + 2


@pytest.mark.parametrize("head", ["linear", "decoupled", "pixel_transformer", "neural_field"])
def test_the_matrices_that_are_counted_are_those_that_muon_takes(head: str) -> None:
    trial = small_trial(small_model(head={"kind": head}))
    taken: dict[tuple[int, int], int] = {}
    for name, parameter in build(trial).named_parameters():
        if count := pieces_in(name, parameter):
            rows, columns = parameter.shape[0] // count, parameter.shape[1]
            shape = (min(rows, columns), max(rows, columns))
            taken[shape] = taken.get(shape, 0) + count
    assert taken == hidden_matrices(trial.model)


def test_its_step_costs_flops_once_an_update() -> None:
    plain, muon = small_trial(), small_trial(optimiser={"method": "muon"})
    extra = {images: training_flops(muon, images=images) - training_flops(plain, images=images) for images in (4, 8)}
    assert 0 < 2 * extra[4] == extra[8]


def test_a_trial_with_muon_goes_on_to_the_same_bits_after_a_checkpoint(images: ImageSet) -> None:
    trial = muon_trial(images)
    through, first, second = (Learner(trial, images, workers=Workers()) for _ in range(3))
    for _ in range(4):
        through.update()
    for _ in range(2):
        first.update()
    saved = {part: {name: tensor.clone() for name, tensor in each.items()} for part, each in first.parts().items()}
    second.restore(saved, first.state())
    for _ in range(2):
        second.update()
    assert all(torch.equal(a, b) for a, b in zip(through.network.parameters(), second.network.parameters(), strict=True))
    assert any("momentum_buffer" in name for name in saved["optimiser"])


def test_an_update_that_is_not_finite_changes_nothing(images: ImageSet) -> None:
    learner = Learner(muon_trial(images), images, workers=Workers())
    learner.update()
    learner.health.diverged.fill_(1.0)
    before = [parameter.detach().clone() for parameter in learner.network.parameters()]
    learner.update()
    assert all(torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True))


def test_graphs_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="got method=muon; try graphs=false, or method=adamw"):
        small_trial(optimiser={"method": "muon"}, graphs=True, device="cuda", precision="bf16")
