"""The encoder with a decoder that reads its blocks again: what it counts, costs, keeps, starts from and computes."""

from pathlib import Path
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
from tests.support.trials import batch, moved, small_model, small_trial, trial_of_recipe
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import identity
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.networks.cost import parameter_count
from trainables.networks.encoder_decoder import EncoderDecoder
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.registry import build
from trainables.networks.sizes import attention_weights
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.learner import Learner
from trainables.training.workers import Workers

VARIANTS: dict[str, dict[str, Any]] = {
    "as wide": {},
    "wider": {"decoder_width": 64},
    "narrower": {"decoder_width": 24, "decoder_heads": 2},
    "shorter": {"decoder_width": 64, "decoder_depth": 2},
}
PRECISIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp32 attention": {"attention": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16 residual": {"precision": "bf16", "residual": "bf16"},
}


def of(trunk: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    given = {"class_tokens": 0, "trunk": {"kind": "encoder_decoder", **(trunk or {})}, **(model or {})}
    return small_trial(small_model(**given), **changes)


def network_of(trial: TrialConfig) -> EncoderDecoder:
    network = moved(trial)
    assert isinstance(network, EncoderDecoder)
    return network


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any]) -> None:
    closed_forms_are_exact_of_images(of(trunk, {"mlp_ratio": 3.0}, attention="fp32"))


@pytest.mark.parametrize("changes", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = of(trunk, {"patch_size": 2}, **changes)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (6, 2))
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
    assert 0.85 < 4 * modelled / (more - fewer) < 1.5
    assert peak_bytes(trial, Fit(1, activation_checkpointing=True)) - state_bytes(trial) < 0.6 * modelled


def test_the_preset_has_the_published_parameters() -> None:
    data = DataConfig(digest="none", image_size=256, num_classes=1000)
    assert round(parameter_count(trial_of_recipe(preset("epg-xl"), data=data)) / 1e6) == 583


def test_recomputing_gives_the_same_gradients() -> None:
    gradients = []
    for recomputed in (False, True):
        network = network_of(of()).train()
        network.activation_checkpointing = recomputed
        network(*batch(2)).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)


def test_a_fresh_one_predicts_zero_with_closed_gates_and_normal_positions() -> None:
    network = build(of({"decoder_width": 64}))
    assert (network(*batch(2)) == 0).all()
    weights = network.state_dict()
    assert not weights["blocks.0.modulation.weight"].any()
    assert all(weights[f"encoder.blocks.1.{norm}.weight"].eq(1).all() for norm in ("norm1", "norm2"))
    assert weights["encoder.positions"].std() == pytest.approx(0.02, rel=0.1)
    assert weights["encoder.blocks.0.mlp.first.weight"].any()


def test_a_decoder_s_block_reads_the_mirrored_block_of_the_encoder() -> None:
    network, given = network_of(of({"decoder_depth": 2})), batch(2)
    seen: dict[int | str, torch.Tensor] = {}
    for number, block in enumerate(network.encoder.blocks):
        block.register_forward_hook(lambda _, __, left, number=number: seen.__setitem__(number, left))
    for number, block in enumerate(network.blocks):
        block.register_forward_pre_hook(lambda _, inputs, number=number: seen.__setitem__(f"read {number}", inputs[1]))
    with torch.no_grad():
        network(*given)
    assert torch.equal(seen["read 0"], seen[3])
    assert torch.equal(seen["read 1"], seen[2])


@pytest.mark.parametrize("prediction", ["x", "eps", "v"])
def test_an_image_s_output_is_its_own_in_any_prediction_and_hears_time_and_class(prediction: str) -> None:
    network = network_of(of(diffusion={"prediction": prediction}))
    z, t, y = batch(2)
    output = network(z, t, y)
    for changed in ((torch.cat((z[:1] + 1, z[1:])), t, y), (z, t * torch.tensor([0.5, 1]), y), (z, t, torch.tensor([5, y[1]]))):
        assert (network(*changed) - output).abs().amax((1, 2, 3)).gt(1e-6).tolist() == [True, False]


def test_the_encoder_hears_the_class_by_its_first_token_alone() -> None:
    trial = of()
    network, (z, t, _) = network_of(trial), batch(2)
    with torch.no_grad():
        label, time = network.label(torch.tensor([0, 1])), network.encoder.time(t)
        plain = network.encoder(network, z, time, label)
        network.encoder.class_token.add_(label[0])
        told = network.encoder(network, z, time)
    for with_label, with_token in zip(plain, told, strict=True):
        torch.testing.assert_close(with_label[0], with_token[0])
        assert not torch.allclose(with_label[1], with_token[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(precision: str) -> None:
    losses_stand_apart(of(precision=precision))


def test_a_narrow_stream_is_near_the_wide_one() -> None:
    outputs = []
    for residual in ("fp32", "bf16"):
        network = network_of(of(precision="bf16", residual=residual))
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            outputs.append(network(*batch(2)))
    wide, narrow = outputs
    assert 0 < (wide - narrow).abs().max() < 0.1 * wide.abs().max()


def test_lifted_patches_go_through_it() -> None:
    trial = of(diffusion={"dimensions": 64})
    output = network_of(trial)(torch.randn(2, 64, 4, 4), torch.rand(2), torch.tensor([0, 1]))
    assert output.shape == (2, *trial.shape) == (2, 64, 4, 4)


def test_only_what_it_reads_is_part_of_its_id() -> None:
    trial = of()
    read = {"patch_size", "width", "depth", "heads", "mlp_ratio", "trunk"}
    assert identity(trial)["model"].keys() == read
    assert identity(of(model={"time_period": 10.0}))["model"].keys() == read | {"time_period"}
    assert of(model={"norm": "layer", "rope": False, "class_tokens": 2}).id == trial.id
    assert len({of(trunk).id for trunk in VARIANTS.values()}) == len(VARIANTS)


def test_sampling_counts_the_wider_half_s_attention() -> None:
    assert attention_weights(of()) == 4 * 18**2
    assert attention_weights(of({"decoder_width": 64, "decoder_heads": 8})) == 8 * 18**2


@pytest.mark.parametrize(
    ("trunk", "changes", "told"),
    [
        ({"decoder_depth": 5}, {}, "at most the encoder's depth, .* decoder_depth=5"),
        ({"decoder_width": 50}, {}, "heads that divide its width, .* decoder_width=50, decoder_depth=4, decoder_heads=4"),
        ({}, {"optimiser": {"method": "muon"}}, "takes adamw, and torch's kernels, got optimiser=muon"),
        ({}, {"kernels": "triton", "device": "cuda"}, "takes adamw, and torch's kernels, got optimiser=adamw, kernels=triton"),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(trunk: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        of(trunk, **changes)


def test_dropout_that_it_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="`trunk` encoder_decoder has a linear head, and no routing, output skip, dropout, .*"):
        of(model={"attn_dropout": 0.1})


def few_images_learner(**changes: Any) -> Learner:
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    return Learner(of(data=data, batch_size=2, **changes), images, workers=Workers())


def test_it_goes_on_bit_for_bit_from_where_it_was_saved_with_its_averages() -> None:
    ema = [{"kind": "decay", "name": "slow", "decay": 0.9}]
    goes_on_bit_for_bit(few_images_learner(ema=ema), few_images_learner(ema=ema), part="slow")


@pytest.mark.slow
def test_a_compiled_one_computes_what_an_eager_one_does() -> None:
    compiles_to_the_same(network_of(of({"decoder_width": 64})), *batch(2))


@pytest.mark.slow
def test_it_is_trained_scored_and_learns(tmp_path: Path) -> None:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    trial = of({"decoder_width": 64}, data=data, batch_size=8, optimiser={"learning_rate": 2e-3})
    how = EvaluationConfig(n=8, sampler="euler", steps=2, guidance=2.0, t_eps_sample=0.05, weights="ema")
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    reports = [*train(Assignment(trial=trial, images=160, rungs=(8, 160), evaluations=(how,), **told))]
    first, last = (report.values[RUNG_METRIC] for report in reports if isinstance(report, Rung))
    assert last < 0.8 * first
    assert any(isinstance(report, Scored) for report in reports)
