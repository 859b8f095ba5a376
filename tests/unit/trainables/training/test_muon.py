"""Muon: which matrices it takes, cut into which pieces, and that it resumes to the bit."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import small_model, small_trial
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import ImageSet, open_images
from trainables.networks.cost import hidden_matrices, training_flops
from trainables.networks.network import Network
from trainables.networks.registry import build
from trainables.training import muon
from trainables.training.learner import Learner
from trainables.training.muon import Muon, orthogonalised, pieces_in
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


def test_an_update_that_is_not_finite_changes_neither_weights_nor_momentum() -> None:
    network, optimiser = stepped()
    matrix = network.get_parameter("blocks.0.attention.qkv.weight")
    before = [(p.detach().clone(), optimiser.state[p][muon.BUFFER].clone()) for p in matrices(network)]
    matrix.grad = torch.full_like(matrix, torch.nan)
    optimiser.found_inf = torch.ones(())
    optimiser.step()
    after = [(p, optimiser.state[p][muon.BUFFER]) for p in matrices(network)]
    assert all(torch.equal(a, b) for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True))


def stepped() -> tuple[Network, Muon]:
    """A network after two steps along fixed gradients, which it still has."""
    network = build(small_trial())
    optimiser = Muon(network, OptimiserConfig(method="muon", learning_rate=0.1, weight_decay=0.1, momentum=0.5))
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        for p in network.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimiser.step()
    return network, optimiser


def taken(network: Network) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in network.named_parameters() if pieces_in(name, p)]


def matrices(network: Network) -> list[nn.Parameter]:
    return [p for _, p in taken(network)]


@pytest.mark.parametrize("shape", [(12, 12), (12, 20), (20, 12)])
def test_each_singular_value_goes_through_the_quintic_five_times(shape: tuple[int, int]) -> None:
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    u, values, v = torch.linalg.svd(given.double(), full_matrices=False)
    s = values / values.square().sum(-1, keepdim=True).sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalised(given).double(), u @ s.diag_embed() @ v, rtol=1e-3, atol=1e-4)


def test_two_steps_are_those_of_torchs_own_but_for_its_rounding_to_bfloat16() -> None:
    network, _ = stepped()
    twin = build(small_trial())
    pieces = {p: [nn.Parameter(part) for part in p.detach().chunk(pieces_in(name, p))] for name, p in taken(twin)}
    own = torch.optim.Muon(
        [piece for parts in pieces.values() for piece in parts],
        lr=0.1,
        weight_decay=0.1,
        momentum=0.5,
        adjust_lr_fn="match_rms_adamw",
    )
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        for p in twin.parameters():
            gradient, parts = torch.randn(p.shape, generator=generator), pieces.get(p, [])
            for piece, of_piece in zip(parts, gradient.chunk(max(1, len(parts))), strict=False):
                piece.grad = of_piece
        own.step()
    for ours, theirs in zip(matrices(network), matrices(twin), strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_pieces_that_do_not_fit_one_batch_are_updated_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = matrices(stepped()[0])
    monkeypatch.setattr(muon, "MOST_NUMBERS", 2 * 48 * 48)
    for a, b in zip(at_once, matrices(stepped()[0]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_matrix_without_a_gradient_stays_as_it_is() -> None:
    network, optimiser = stepped()
    still, moving = network.get_parameter("blocks.0.mlp.w3.weight"), network.get_parameter("blocks.1.mlp.w3.weight")
    before = [still.detach().clone(), moving.detach().clone()]
    still.grad = None
    optimiser.step()
    assert torch.equal(still, before[0])
    assert not torch.equal(moving, before[1])


def test_graphs_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="got method=muon; try graphs=false, or method=adamw"):
        small_trial(optimiser={"method": "muon"}, graphs=True, device="cuda", precision="bf16")
