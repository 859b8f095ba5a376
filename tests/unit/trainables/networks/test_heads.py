"""The heads that read pixels: what they count, cost, keep and start from, and that they do what a linear head cannot."""

from typing import Any

import pytest
import torch

from search_spaces.presets import preset
from tests.support.kept import kept_by_autograd
from tests.support.networks import (
    closed_forms_are_exact_of_images,
    compiles_to_the_same,
    goes_on_bit_for_bit,
    losses_stand_apart,
)
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, lively, small_model, small_trial, trial_of_recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import open_images
from trainables.networks.cost import parameter_count
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.registry import blank, build
from trainables.training.learner import Learner
from trainables.training.workers import Workers

HEADS: list[dict[str, Any]] = [
    {"kind": "neural_field", "width": 8, "blocks": 2, "ratio": 3},
    {"kind": "decoupled", "blocks": 2},
    {"kind": "pixel_mlp", "width": 8, "blocks": 3},
    {"kind": "pixel_transformer", "width": 4, "blocks": 2},
    {"kind": "patch_unet", "width": 8},
]
NAMES = [head["kind"] for head in HEADS]
PUBLISHED = {"pixnerd-xl": 700.6, "ddt-xl": 674.6, "deco-xl": 682.3, "pixeldit-xl": 797.4, "dip-xl": 632.0}
"""Millions of parameters."""
PLAIN: dict[str, Any] = {"norm": "layer", "qk_norm": False}
"""The CPU's own RMSNorm takes a row sum as a product, which would be counted."""


def with_head(head: dict[str, Any], *, model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(head=head, **(model or {})), **changes)


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_a_preset_has_the_published_number_of_parameters(name: str, millions: float) -> None:
    recipe = preset(name)
    latents = recipe.model.patch_size < 16
    size: dict[str, Any] = {"image_size": 32, "channels": 4} if latents else {"image_size": 256}
    trial = trial_of_recipe(recipe, data=DataConfig(digest="none", num_classes=1000, **size))
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in blank(trial).parameters())
    assert parameter_count(trial) == built
    assert built / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("patch", [16, 4, 1])
@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_the_closed_forms_are_exact_at_every_patch(head: dict[str, Any], patch: int) -> None:
    closed_forms_are_exact_of_images(with_head(head, model={**PLAIN, "patch_size": patch}, attention="fp32"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_the_memory_model_follows_what_autograd_keeps(head: dict[str, Any], precision: str) -> None:
    trial = with_head(head, model={"depth": 1, "class_tokens_start": 0}, precision=precision)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (12, 4))
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
    assert 0.85 < 8 * modelled / (more - fewer) < 1.5


@pytest.mark.parametrize("prediction", ["x", "eps", "v"])
@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_a_head_stands_beside_class_tokens_and_without_biases_or_shifts_and_predicts_anything(
    head: dict[str, Any], prediction: str
) -> None:
    flags = {"bias": False, "adaln_shift": False, "rope_kind": "alternating", "qk_norm_kind": "layer", "block_start": "torch"}
    trial = with_head(head, model=flags, diffusion={"prediction": prediction})
    network = lively(trial)
    z, t, y = batch(2)
    output = network(z, t, y)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    changed = z.clone()
    changed[0, 0, 0, 0] += 1
    assert (network(changed, t, y) - output).abs().amax((1, 2, 3)).gt(0).tolist() == [True, False]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(
    head: dict[str, Any], precision: str
) -> None:
    losses_stand_apart(with_head(head, precision=precision))


def test_a_u_net_goes_down_to_one_pixel_of_a_patch_that_is_no_power_of_two() -> None:
    data = DataConfig(digest="none", image_size=24, num_classes=5)
    trial = small_trial(small_model(patch_size=12, head={"kind": "patch_unet", "width": 4}), data=data)
    network = lively(trial)
    z, t, y = torch.randn(2, 3, 24, 24), torch.rand(2), torch.zeros(2, dtype=torch.int64)
    assert network(z, t, y).shape == z.shape
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())


def test_a_fresh_neural_field_predicts_zero_and_starts_as_torch_does() -> None:
    trial = with_head(HEADS[0])
    network = build(trial)
    assert (network(*batch(2)) == 0).all()
    weights = network.state_dict()
    bound = trial.model.width**-0.5
    matrices, bias = (weights[f"head.blocks.0.matrices.{part}"] for part in ("weight", "bias"))
    assert 0.9 * bound < matrices.abs().max() <= bound
    assert 0.9 * bound < bias.abs().max() <= bound


def few_images_learner(head: dict[str, Any]) -> Learner:
    """A trial with this head on few images."""
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    model = small_model(patch_size=16, depth=2, class_tokens=0, class_tokens_start=0, head=head)
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    return Learner(small_trial(model, data=data, batch_size=2), images, workers=Workers())


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_a_head_goes_on_bit_for_bit_from_where_it_was_saved(head: dict[str, Any]) -> None:
    goes_on_bit_for_bit(few_images_learner(head), few_images_learner(head))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_a_compiled_head_computes_what_an_eager_one_does(head: dict[str, Any]) -> None:
    compiles_to_the_same(lively(with_head(head, model={"depth": 1, "class_tokens": 0, "class_tokens_start": 0})), *batch(2))


def late_loss(head: str) -> float:
    """Mean loss of the last updates of a v-prediction at patch 16, of 4 tokens an image."""
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    model = small_model(
        patch_size=16, depth=1, embedding={"kind": "linear"}, class_tokens=0, class_tokens_start=0, head={"kind": head}
    )
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    values: dict[str, Any] = {"diffusion": {"prediction": "v"}, "optimiser": {"learning_rate": 2e-3, "grad_clip": 1.0}}
    learner = Learner(small_trial(model, data=data, batch_size=8, **values), images, workers=Workers())
    for _ in range(36):
        learner.update()
    learner.health.mean_loss()
    for _ in range(12):
        learner.update()
    return learner.health.mean_loss()


@pytest.mark.slow
def test_a_neural_field_learns_the_velocity_at_a_large_patch_where_a_linear_head_fails() -> None:
    assert late_loss("neural_field") < 0.9 < 1.1 < late_loss("linear")
