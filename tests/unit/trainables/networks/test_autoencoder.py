"""The autoencoder: what it counts and costs, that its code is what it says, and that it trains as every method does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.presets import preset
from tests.support.kept import kept_by_autograd
from tests.support.networks import closed_forms_are_exact, goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, moved, small_model, small_trial, trial_of_recipe
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.evaluation.metrics.heldout import mean_image
from trainables.evaluation.metrics.reconstruction import HeldoutImages
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRICS
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.cost import parameter_count
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.registry import blank
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.batches import Batch
from trainables.training.learner import Learner
from trainables.training.step import EagerStep
from trainables.training.workers import Workers

SMALL: dict[str, Any] = {"kind": "autoencoder", "width": 32, "multipliers": (1, 2)}
VARIANTS: dict[str, dict[str, Any]] = {
    "kl": {},
    "vq": {"code": {"kind": "vq", "entries": 16}},
    "deep": {"multipliers": (1, 1, 2), "blocks": 2, "attention": (2,), "code_channels": 3},
    "one level": {"multipliers": (1,)},
}
PUBLISHED = {"ldm-kl-f8": 83_653_863, "ldm-vq-f4": 55_322_782}
"""Parameters of the published first stages (arXiv 2112.10752) without discriminator and perceptual network."""


def coder(trunk: dict[str, Any] | None = None, *, method: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    model = small_model(class_tokens=0, trunk={**SMALL, **(trunk or {})})
    return small_trial(model, method={"kind": "autoencoder", **(method or {})}, **changes)


def network_of(trial: TrialConfig) -> Autoencoder:
    network = moved(trial)
    assert isinstance(network, Autoencoder)
    return network


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_a_preset_has_the_published_number_of_parameters(name: str, count: int) -> None:
    trial = trial_of_recipe(preset(name), data=DataConfig(digest="none", image_size=256, num_classes=1))
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in blank(trial).parameters()) == count
    assert parameter_count(trial) == count


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any]) -> None:
    trial = coder(trunk, attention="fp32")
    closed_forms_are_exact(trial, blank(trial), *batch(2))


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any]) -> None:
    trial = coder(trunk)
    kept = kept_by_autograd(trial, images=1)
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
    assert kept < modelled < 1.6 * kept, (kept, modelled)


def test_a_gaussian_code_is_drawn_in_training_and_its_mean_elsewhere() -> None:
    network, (x, t, y) = network_of(coder()), batch(2)
    e = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, drawn = network.encoded(x), network.coded(x, e)
        torch.testing.assert_close(network.coded(x, torch.zeros_like(e)).code, mean)
        torch.testing.assert_close(network(x, t, y), network.decoded(mean))
        told = network.to_code(network.encoder(network, x))
    log_variance = told[:, 4:]
    torch.testing.assert_close(drawn.code, mean + (0.5 * log_variance).exp() * e)
    one, other = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(one, other).flatten(1).sum(1)
    torch.testing.assert_close(drawn.penalty, 1e-6 * divergence / (3 * 16 * 16))


def test_a_quantised_code_is_the_nearest_entry_past_which_the_gradient_goes() -> None:
    network, (x, *_) = network_of(coder(VARIANTS["vq"])), batch(2)
    before = network.encoded(x)
    found = network.coded(x, torch.zeros(0))
    places, entries = before.movedim(1, -1).reshape(-1, 4), network.entries.weight
    nearest = entries[torch.cdist(places, entries).argmin(1)]
    torch.testing.assert_close(found.code.movedim(1, -1).reshape(-1, 4), nearest)
    missed = (places - nearest).square().view(2, -1).mean(1)
    torch.testing.assert_close(found.penalty, 1.25 * missed)
    bias = network.to_code.bias
    assert bias is not None
    straight = torch.autograd.grad(found.code.sum(), bias, retain_graph=True)[0]
    torch.testing.assert_close(straight, torch.full((4,), 2.0 * 64))
    assert torch.autograd.grad(found.penalty.sum(), entries)[0].abs().sum() > 0


def test_the_loss_is_the_weighted_error_and_what_the_code_costs() -> None:
    trial = coder(method={"absolute": 0.5, "squared": 2.0})
    step, (x, t, y) = EagerStep(trial), batch(2)
    e = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert isinstance(step.network, Autoencoder)
    with torch.no_grad():
        losses = step(Batch(x=x, e=e, t=t, y=y))
        again, coded = step.network.reconstructed(x, e)
    missed = (again - x).flatten(1)
    torch.testing.assert_close(losses, 0.5 * missed.abs().mean(1) + 2.0 * missed.square().mean(1) + coded.penalty)


def test_nothing_of_the_diffusion_is_part_of_an_autoencoders_id() -> None:
    assert coder(diffusion={"prediction": "v", "noise_scale": 2.0}).id == coder().id != coder(method={"squared": 0.5}).id


@pytest.mark.parametrize("changes", [{"method": {"kind": "denoiser"}}, {"model": small_model()}])
def test_an_autoencoder_is_trained_as_one_and_nothing_else_is(changes: dict[str, Any]) -> None:
    tree = {**coder().model_dump(), **changes}
    with pytest.raises(ValueError, match="`method` autoencoder trains the trunk autoencoder, and no other method does"):
        TrialConfig.model_validate(tree)


def few_images_trial(kind: str, **changes: Any) -> TrialConfig:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    return coder(VARIANTS[kind], data=data, **changes)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_it_goes_on_bit_for_bit_from_where_it_was_saved(kind: str) -> None:
    images, trial = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT), few_images_trial(kind, batch_size=2)
    through, resumed = (Learner(trial, images, workers=Workers()) for _ in range(2))
    goes_on_bit_for_bit(through, resumed)


class AlwaysTheMean(nn.Module):
    """Answers the training images' mean."""

    def forward(self, x: Tensor, _t: Tensor, _y: Tensor) -> Tensor:
        return mean_image(open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)).expand_as(x)


def test_the_mean_images_error_is_that_of_who_always_answers_it() -> None:
    trial, images = few_images_trial("kl"), open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    grid, network = HeldoutImages(images), AlwaysTheMean()
    error, psnr = (METRICS[name].of_network(grid, network, trial) for name in ("heldout_reconstruction_error", "heldout_psnr"))
    assert error == pytest.approx(grid.mean_image_error)
    assert psnr == pytest.approx(float((10 * torch.log10(4 / grid.errors(network, trial))).mean()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_an_autoencoder_is_trained_scored_and_learns(kind: str, tmp_path: Path) -> None:
    trial = few_images_trial(kind, batch_size=8, optimiser={"learning_rate": 2e-3})
    how = EvaluationConfig(n=8, sampler="euler", steps=2, t_eps_sample=0.05, weights="ema")
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    own = RUNG_METRICS["autoencoder"]
    reports = [*train(Assignment(trial=trial, images=160, rungs=(8, 160), rung_metric=own, evaluations=(how,), **told))]
    first, last = (report.values for report in reports if isinstance(report, Rung))
    assert last[own] < 0.8 * first[own]
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert {own, "heldout_psnr", "fd_efflite0_96"} <= scored.values.keys()
    assert "heldout_v_error" not in scored.values
