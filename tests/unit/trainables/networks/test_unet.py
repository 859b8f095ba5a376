"""The U-Net as a trunk: what it counts, costs, keeps and starts from, and that it trains as every network does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import preset
from tests.support.kept import kept_by_autograd
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, moved, small_model, small_trial, trial_of_recipe
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import identity
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.noise_time import reversed_time
from trainables.networks.registry import blank, build
from trainables.networks.unet import Unet
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.batches import Batch
from trainables.training.learner import Learner
from trainables.training.step import EagerStep
from trainables.training.workers import Workers

KEPT, RECOMPUTED = (Fit(1, activation_checkpointing=recomputed) for recomputed in (False, True))
SMALL: dict[str, Any] = {"kind": "unet", "width": 32, "blocks": 1, "head_channels": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "adm": {},
    "added": {"scale_shift": False},
    "convolutions": {"resample": "convolutions"},
    "deep": {"blocks": 2, "multipliers": (1, 1, 2), "attention": (2,)},
    "attending everywhere": {"multipliers": (2, 1), "attention": (1, 2)},
    "attending at the bottom": {"attention": ()},
    "one level": {"multipliers": (1,), "attention": ()},
    "dropping": {"dropout": 0.2},
}
PUBLISHED = {"adm-64": 296, "adm-256": 554}
"""Millions of parameters at their resolution (arXiv 2105.05233, table 4 and the official README)."""


def unet(trunk: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(class_tokens=0, trunk={**SMALL, **(trunk or {})}), **changes)


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_a_preset_has_the_published_number_of_parameters(name: str, millions: int) -> None:
    data = DataConfig(digest="none", num_classes=1000, image_size=int(name.removeprefix("adm-")))
    trial = trial_of_recipe(preset(name), data=data)
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in blank(trial).parameters())
    assert parameter_count(trial) == built
    assert built / 1e6 == pytest.approx(millions, abs=0.5)


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any]) -> None:
    trial = unet(trunk, attention="fp32")
    network = blank(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        output = network(*batch(2))
    assert output.shape == (2, 3, 16, 16)
    assert counter.get_total_flops() == 2 * forward_flops(trial)
    with FlopCounterMode(display=False) as counter:
        network(*batch(2)).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=2)


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fp32"}, {"precision": "bf16"}, {"precision": "bf16", "residual": "bf16"}],
    ids=["fp32", "fp32 attention", "bf16", "bf16 residual"],
)
@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = unet(trunk, **changes)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (6, 2))
    modelled = peak_bytes(trial, KEPT) - state_bytes(trial)
    assert 0.85 < 4 * modelled / (more - fewer) < 1.5


def test_recomputing_needs_less_memory_and_gives_the_same_gradients() -> None:
    trial = unet({"dropout": 0.2})
    state = state_bytes(trial)
    assert peak_bytes(trial, RECOMPUTED) - state < (peak_bytes(trial, KEPT) - state) / 2
    gradients = []
    for recomputed in (False, True):
        network = moved(trial).train()
        network.activation_checkpointing = recomputed
        torch.manual_seed(0)
        network(*batch(2)).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("prediction", ["x", "eps", "v"])
def test_an_image_s_output_is_its_own_in_any_prediction_and_hears_time_and_class(prediction: str) -> None:
    network = moved(unet(diffusion={"prediction": prediction}))
    z, t, y = batch(2)
    output = network(z, t, y)
    for changed in ((torch.cat((z[:1] + 1, z[1:])), t, y), (z, t * torch.tensor([0.5, 1]), y), (z, t, torch.tensor([5, y[1]]))):
        assert (network(*changed) - output).abs().amax((1, 2, 3)).gt(1e-6).tolist() == [True, False]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(precision: str) -> None:
    step, generator = EagerStep(unet(precision=precision)), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in step.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        x, t, y = batch(4)
        whole = step(Batch(x=x, e=x.flip(0), t=t, y=y))
        halves = [step(Batch(x=x[at], e=x.flip(0)[at], t=t[at], y=y[at])) for at in (slice(2), slice(2, 4))]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=1e-5 if precision == "fp32" else 0.05, atol=1e-6)


def test_a_narrow_stream_is_near_the_wide_one() -> None:
    outputs = []
    for residual in ("fp32", "bf16"):
        network = moved(unet(precision="bf16", residual=residual))
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            outputs.append(network(*batch(2)))
    wide, narrow = outputs
    assert 0 < (wide - narrow).abs().max() < 0.1 * wide.abs().max()


def test_a_fresh_unet_predicts_zero_and_starts_as_adm_s_does() -> None:
    trial = unet()
    network = build(trial)
    assert (network(*batch(2)) == 0).all()
    weights = network.state_dict()
    closed = ("conv2.weight", "proj.weight", "last.weight")
    assert all(not tensor.any() for name, tensor in weights.items() if name.endswith(closed))
    bound = (9 * 32) ** -0.5
    assert 0.9 * bound < weights["down.0.block.conv1.weight"].abs().max() <= bound
    assert weights["down.0.block.conv1.bias"].any()
    assert weights["label.weight"].std() == pytest.approx(1, rel=0.1)
    assert (weights["down.0.block.norm1.weight"] == 1).all()


def test_a_unet_in_reversed_time_is_the_same_function() -> None:
    trial = unet(diffusion={"prediction": "v"})
    network, adapted = moved(trial), moved(trial)
    assert isinstance(network, Unet)
    adapted.load_state_dict(reversed_time(network.state_dict(), trial=trial, frequencies=network.time.frequencies))
    z, t, y = batch(2)
    torch.testing.assert_close(adapted(z, 1 - t, y), -network(z, t, y), rtol=1e-3, atol=1e-3)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "`attention` must name sides of the levels, 1 over 1, 2 or 4, got 8": ({"attention": (8,)}, {}),
    "`head_channels` must divide .*, got head_channels=24, channels=64": ({"head_channels": 24}, {}),
    "`width` .*multiple of 32": ({"width": 48}, {}),
    "`trunk` unet halves the side of images 5 times, .* got image_size=16": ({"multipliers": (1,) * 6}, {}),
    "`trunk` unet takes adamw, and torch's kernels, got optimiser=muon": ({}, {"optimiser": {"method": "muon"}}),
    "the term classifier reads tokens .*trunk=unet": ({}, {"diffusion": {"terms": [{"kind": "classifier"}]}}),
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=lambda value: str(value)[:30])
def test_what_a_unet_cannot_be_is_refused(message: str, changes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    trunk, beside = changes
    with pytest.raises(ValueError, match=message if "multiple" not in message else "multiple of 32"):
        unet(trunk, **beside)


@pytest.mark.parametrize(
    ("name", "value"), [("head", {"kind": "pixel_mlp"}), ("output_skip", "edm"), ("normalise_input", True)]
)
def test_what_belongs_to_patches_is_refused_beside_it(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`trunk` unet has a linear head, and no routing.*got {name}="):
        small_model(trunk=SMALL, **{name: value})


def test_only_what_it_reads_is_part_of_its_id() -> None:
    trial = unet()
    assert identity(trial)["model"].keys() == {"trunk"}
    for changes in ({"patch_size": 7}, {"width": 96}, {"norm": "layer"}, {"class_tokens": 3}):
        model = type(trial.model).model_validate({**trial.model.model_dump(), **changes})
        assert trial.model_copy(update={"model": model}).id == trial.id
    ids = {unet(trunk).id for trunk in VARIANTS.values()} | {unet({"attention_order": "heads"}).id}
    assert len(ids) == len(VARIANTS) + 1
    assert (trial.grid, trial.token_dim) == (16, 3)


def test_an_evaluation_takes_fewer_images_at_once_where_the_attention_of_many_pixels_is_written_out() -> None:
    data = DataConfig(digest="none", image_size=64, num_classes=5)
    written, fused = (unet({"attention": (1,), "head_channels": 1}, data=data, attention=mode) for mode in ("fp32", "sdpa"))
    assert images_at_once(written, device="cuda") < images_at_once(fused, device="cuda")


def few_images_learner(**changes: Any) -> Learner:
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    return Learner(unet({"dropout": 0.1}, data=data, batch_size=2, **changes), images, workers=Workers())


def test_a_unet_goes_on_bit_for_bit_from_where_it_was_saved_with_its_averages() -> None:
    ema = [{"kind": "decay", "name": "slow", "decay": 0.9}]
    through, resumed = few_images_learner(ema=ema), few_images_learner(ema=ema)
    through.update()
    saved = {part: {name: t.clone() for name, t in tensors.items()} for part, tensors in through.parts().items()}
    assert "slow" in saved
    state = through.state()
    through.update()
    resumed.restore(saved, state)
    resumed.update()
    for part, tensors in through.parts().items():
        assert all(torch.equal(tensor, resumed.parts()[part][name]) for name, tensor in tensors.items())
    assert any(not torch.equal(tensor, saved["slow"][name]) for name, tensor in through.parts()["slow"].items())


@pytest.mark.slow
def test_a_compiled_unet_computes_what_an_eager_one_does() -> None:
    network = moved(unet())
    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*batch(2)), network(*batch(2)), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_unet_is_trained_scored_and_learns(tmp_path: Path) -> None:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    trial = unet(data=data, batch_size=8, optimiser={"learning_rate": 2e-3}, diffusion={"prediction": "v", "loss": "v"})
    how = EvaluationConfig(n=8, sampler="euler", steps=2, guidance=2.0, t_eps_sample=0.05, weights="ema")
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    reports = [*train(Assignment(trial=trial, images=160, rungs=(8, 160), evaluations=(how,), **told))]
    first, last = (report.values[RUNG_METRIC] for report in reports if isinstance(report, Rung))
    assert last < 0.8 * first
    assert any(isinstance(report, Scored) for report in reports)


def test_a_trunk_s_name_alone_stands_for_it_as_in_older_files() -> None:
    assert small_model(trunk="unet").trunk == small_model(trunk={"kind": "unet"}).trunk
    assert identity(small_model(trunk="mlp", class_tokens=0))["trunk"] == "mlp"
