"""Patches lifted into more dimensions: nothing of them is lost or added, and all that a trial does is done there."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jit_sweep.errors import UserError
from jit_sweep.models.official import require_official
from tests.support.kept import bytes_kept
from tests.support.networks import closed_forms_are_exact, compiles_to_the_same, goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import CLASSES, SIZE, lively, small_model, small_trial
from tests.unit.trainables.training.test_learner import IMAGES
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import LinearEmbedding
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import open_images
from trainables.data.pixels import to_pixels
from trainables.diffusion.lift import Lift, lift_of
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.generate import generate
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.networks.memory import AROUND_IMAGES, Fit, peak_bytes, state_bytes
from trainables.networks.registry import build
from trainables.training.batches import Batches
from trainables.training.learner import Learner
from trainables.training.workers import Workers

NUMBERS = 48
"""Of a patch of 4 pixels."""
GRID = SIZE // 4


def lifted_trial(dimensions: int | None = 100, *, prediction: str = "x", **changes: Any) -> TrialConfig:
    """On 16 tokens of width 48."""
    given = DiffusionConfig.model_validate({"dimensions": dimensions, "prediction": prediction})
    return small_trial(**{"diffusion": given, **changes})


def seen(trial: TrialConfig, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise as the trial's network sees it, times and labels."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(count, *trial.shape, generator=generator)
    return z, torch.rand(count, generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)


def test_a_lift_of_patches_keeps_the_length_of_each_and_comes_back() -> None:
    x, lift = torch.randn(2, 3, SIZE, SIZE), Lift(3, 4, 100)
    up = lift.up(x)
    assert up.shape == (2, 100, GRID, GRID)
    patch = x[0, :, 4:8, 8:12]
    assert up[0, :, 1, 2].norm().item() == pytest.approx(patch.norm().item(), rel=1e-5)
    assert torch.allclose(lift.down(up), x, atol=1e-5)
    assert not torch.allclose(lift.up(lift.down(torch.randn(2, 100, GRID, GRID))), up, atol=0.1)


def test_all_trials_of_one_shape_are_lifted_alike_and_without_dimensions_nothing_is() -> None:
    x = torch.randn(2, 3, SIZE, SIZE)
    first, other = (lift_of(lifted_trial(seed=seed, prediction=prediction)).up(x) for seed, prediction in ((0, "x"), (1, "v")))
    assert first.equal(other)
    plain = lift_of(lifted_trial(None))
    assert plain.up(x) is plain.down(x) is x


def test_what_is_lifted_is_projected_in_full_precision_under_autocast() -> None:
    x, lift = torch.randn(2, 3, SIZE, SIZE), Lift(3, 4, 100)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(lift.down(lift.up(x)), x, atol=1e-5)


@pytest.mark.parametrize("dimensions", [NUMBERS, 100])
@pytest.mark.parametrize("embedding", ["linear", "bottleneck"])
def test_the_closed_forms_are_exact_of_lifted_tokens(dimensions: int, embedding: str) -> None:
    trial = lifted_trial(dimensions, model=small_model(embedding={"kind": embedding}))
    assert (trial.token_dim, trial.shape, trial.grid) == (dimensions, (dimensions, GRID, GRID), GRID)
    closed_forms_are_exact(trial, lively(trial), *seen(trial, 2))


def test_the_memory_model_follows_what_autograd_keeps_of_lifted_tokens() -> None:
    """Beside what a batch and its loss keep, which this forward pass has not."""
    trial = lifted_trial(600)
    kept = [bytes_kept(lively(trial).train(), *seen(trial, count)) for count in (12, 4)]
    around = AROUND_IMAGES * 600 * GRID**2 * 4
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial) - around
    assert 0.85 < 8 * modelled / (kept[0] - kept[1]) < 1.5


@torch.no_grad()
def test_a_lift_to_a_patch_s_own_numbers_is_a_change_of_basis_for_the_network() -> None:
    """With embedding and head turned the other way it answers what it would without."""
    model = small_model(embedding=LinearEmbedding())
    plain, turned = (lively(lifted_trial(dimensions, model=model)) for dimensions in (None, NUMBERS))
    lift = lift_of(turned.trial)
    basis = lift.down(torch.eye(NUMBERS)[:, :, None, None]).flatten(1)  # of each dimension, the pixels of a patch
    by_position = basis.unflatten(1, (3, 4, 4)).permute(0, 2, 3, 1).flatten(1)  # as the head orders a patch
    turned.load_state_dict(plain.state_dict())
    embedding, head = turned.embedding.get_submodule("expand"), turned.head
    assert isinstance(embedding, nn.Linear)
    assert isinstance(head, nn.Linear)
    embedding.weight.copy_(embedding.weight @ basis.T)
    head.weight.copy_(by_position @ head.weight)
    head.bias.copy_(by_position @ head.bias)
    z, t, y = seen(plain.trial, 3)
    torch.testing.assert_close(lift.down(turned(lift.up(z), t, y)), plain(z, t, y), rtol=1e-4, atol=1e-4)


HELD = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
HELD_DATA = DataConfig(digest=HELD.fingerprint, image_size=32, num_classes=9)
HELD_NUMBERS, MORE = 192, 300
"""Of a patch of 8 pixels, and what it is lifted to."""


def held_trial(dimensions: int | None, prediction: str = "x") -> TrialConfig:
    model = small_model(patch_size=8, depth=1, class_tokens=0, class_tokens_start=0)
    return lifted_trial(dimensions, prediction=prediction, model=model, data=HELD_DATA)


@cache
def grid(dimensions: int | None) -> HeldoutGrid:
    return HeldoutGrid(HELD, lift=lift_of(held_trial(dimensions)))


class InPixels(nn.Module):
    """A network of images that answers for one of lifted patches: nothing of what only noise fills."""

    def __init__(self, network: nn.Module, lift: Lift) -> None:
        super().__init__()
        self.network, self.lift = network, lift

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.lift.up(self.network(self.lift.down(z), t, y))


@pytest.mark.parametrize("prediction", ["x", "v", "eps"])
def test_the_error_in_pixels_is_the_same_whatever_they_are_lifted_to_and_that_of_all_dimensions_is_not(prediction: str) -> None:
    network = lively(held_trial(None))
    plain = grid(None).pixel_v_error(network, held_trial(None, prediction))
    assert plain == grid(None).v_error(network, held_trial(None, prediction))
    for dimensions in (HELD_NUMBERS, MORE):
        trial = held_trial(dimensions, prediction)
        within = InPixels(network, lift_of(trial))
        assert grid(dimensions).pixel_v_error(within, trial) == pytest.approx(plain, rel=1e-4)
        if dimensions == MORE:
            assert abs(grid(dimensions).v_error(within, trial) / plain - 1) > 0.1


def test_the_mean_image_is_as_wrong_whatever_it_is_lifted_to() -> None:
    assert grid(MORE).mean_image_error == pytest.approx(grid(None).mean_image_error, rel=1e-5)


def test_the_noise_of_the_grid_is_standard_normal_in_all_dimensions() -> None:
    noise = grid(MORE)._n
    assert noise.shape[1:] == (MORE, 4, 4)
    tokens = noise.permute(1, 0, 2, 3).flatten(1).double()
    covariance = torch.cov(tokens)
    assert covariance.diagonal().mean().item() == pytest.approx(1, abs=0.02)
    assert (covariance - torch.eye(MORE)).square().mean().sqrt() < 1.2 / math.sqrt(tokens.shape[1])


def test_a_batch_is_the_images_lifted_with_noise_in_all_dimensions() -> None:
    trial, plain = lifted_trial(100), lifted_trial(None)
    batch, pixels = (Batches(each, IMAGES, device=torch.device("cpu")).take(4, 6) for each in (trial, plain))
    assert batch.x.shape == batch.e.shape == (6, *trial.shape)
    assert torch.allclose(lift_of(trial).down(batch.x), pixels.x, atol=1e-5)
    assert batch.t.equal(pixels.t)
    left = batch.e - lift_of(trial).up(lift_of(trial).down(batch.e))
    assert left.square().mean().item() == pytest.approx(1 - NUMBERS / 100, rel=0.1)


class Still(nn.Module):
    """A velocity of nothing: a sample is its own noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return 0 * z


def test_samples_are_drawn_in_all_dimensions_and_projected_back() -> None:
    trial = lifted_trial(100, prediction="v")
    how = EvaluationConfig(n=4, sampler="euler", steps=2, t_eps_sample=0.05, seed=5)
    images = generate(Still(), trial, how, torch.zeros(4, dtype=torch.int64))
    noise = PhiloxDraws(5).normal(Purpose.SAMPLE_NOISE, first=0, count=4, shape=trial.shape)
    assert images.equal(to_pixels(lift_of(trial).down(noise)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_lifted_trial_goes_on_bit_for_bit_from_where_it_was_saved(precision: str) -> None:
    goes_on_bit_for_bit(*(Learner(lifted_trial(precision=precision), IMAGES, workers=Workers()) for _ in range(2)))


@pytest.mark.slow
def test_a_compiled_network_of_lifted_patches_computes_what_an_eager_one_does() -> None:
    trial = lifted_trial(model=small_model(depth=1, class_tokens=0, class_tokens_start=0))
    compiles_to_the_same(lively(trial), *seen(trial, 2))


@pytest.mark.parametrize(
    ("model", "diffusion", "rule"),
    [
        (
            {},
            {"dimensions": 47},
            r"the numbers of a patch.*got dimensions=47, channels=3, patch_size=4; try 48 or more",
        ),
        ({"head": {"kind": "pixel_mlp"}}, {}, "needs a linear head.*got head=pixel_mlp; change"),
        ({"embedding": {"kind": "conv_stem"}}, {}, "linear or bottleneck embedding.*got embedding=conv_stem"),
        ({}, {"terms": [{"kind": "multiscale"}, {"kind": "cosine"}]}, "reads pixels, got terms=multiscale, terms=cosine"),
        ({}, {"terms": [{"kind": "frequency"}]}, "reads pixels, got terms=frequency"),
    ],
)
def test_what_reads_pixels_is_refused_beside_a_lift(model: dict[str, object], diffusion: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        small_trial(small_model(**model), diffusion={"dimensions": 100, **diffusion})


def test_a_network_of_lifted_patches_is_no_official_one() -> None:
    require_official(small_trial())
    with pytest.raises(UserError, match=r"the official code runs its own network only, got dimensions=100 \(official: None\)"):
        require_official(lifted_trial())


def test_a_term_that_reads_tokens_is_not_refused_and_neither_are_terms_of_points() -> None:
    assert small_trial(diffusion={"dimensions": 100, "terms": [{"kind": "classifier"}]}).diffusion.tapped
    points = DataConfig(digest="none", image_size=1, channels=2, num_classes=1)
    trial = small_trial(small_model(patch_size=1), data=points, diffusion={"dimensions": 8, "terms": [{"kind": "cosine"}]})
    assert build(trial)(torch.randn(2, 8, 1, 1), torch.rand(2), torch.zeros(2, dtype=torch.int64)).shape == (2, 8, 1, 1)
