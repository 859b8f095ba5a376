"""The trunks of pixels train as every network does: images stay apart, and a trial goes on from where it was saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.networks import compiles_to_the_same, goes_on_bit_for_bit, losses_stand_apart
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, moved, small_model, small_trial
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.learner import Learner
from trainables.training.workers import Workers

KEPT, RECOMPUTED = (Fit(1, activation_checkpointing=recomputed) for recomputed in (False, True))
_UVIT: dict[str, Any] = {"width": 16, "depth": 2, "heads": 4, "head_channels": 8, "mlp_ratio": 2}
TRUNKS: dict[str, dict[str, Any]] = {
    "unet": {"width": 32, "blocks": 1, "head_channels": 8},
    "uvit": _UVIT,
    "residual_uvit": _UVIT,
}


def of(kind: str, *, dropout: float = 0.0, **changes: Any) -> TrialConfig:
    return small_trial(small_model(class_tokens=0, trunk={"kind": kind, "dropout": dropout, **TRUNKS[kind]}), **changes)


@pytest.mark.parametrize("kind", TRUNKS)
def test_recomputing_needs_less_memory_and_gives_the_same_gradients(kind: str) -> None:
    trial = of(kind, dropout=0.2)
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
@pytest.mark.parametrize("kind", TRUNKS)
def test_an_image_s_output_is_its_own_in_any_prediction_and_hears_time_and_class(kind: str, prediction: str) -> None:
    network = moved(of(kind, diffusion={"prediction": prediction}))
    z, t, y = batch(2)
    output = network(z, t, y)
    for changed in ((torch.cat((z[:1] + 1, z[1:])), t, y), (z, t * torch.tensor([0.5, 1]), y), (z, t, torch.tensor([5, y[1]]))):
        assert (network(*changed) - output).abs().amax((1, 2, 3)).gt(1e-6).tolist() == [True, False]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", TRUNKS)
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(kind: str, precision: str) -> None:
    losses_stand_apart(of(kind, precision=precision))


@pytest.mark.parametrize("kind", TRUNKS)
def test_a_narrow_stream_is_near_the_wide_one(kind: str) -> None:
    outputs = []
    for residual in ("fp32", "bf16"):
        network = moved(of(kind, precision="bf16", residual=residual))
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            outputs.append(network(*batch(2)))
    wide, narrow = outputs
    assert 0 < (wide - narrow).abs().max() < 0.1 * wide.abs().max()


def few_images_learner(kind: str, **changes: Any) -> Learner:
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    return Learner(of(kind, dropout=0.1, data=data, batch_size=2, **changes), images, workers=Workers())


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_trunk_goes_on_bit_for_bit_from_where_it_was_saved_with_its_averages(kind: str) -> None:
    ema = [{"kind": "decay", "name": "slow", "decay": 0.9}]
    goes_on_bit_for_bit(few_images_learner(kind, ema=ema), few_images_learner(kind, ema=ema), part="slow")


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_compiled_trunk_computes_what_an_eager_one_does(kind: str) -> None:
    compiles_to_the_same(moved(of(kind)), *batch(2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_trunk_is_trained_scored_and_learns(kind: str, tmp_path: Path) -> None:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    trial = of(kind, data=data, batch_size=8, optimiser={"learning_rate": 2e-3}, diffusion={"prediction": "v", "loss": "v"})
    how = EvaluationConfig(n=8, sampler="euler", steps=2, guidance=2.0, t_eps_sample=0.05, weights="ema")
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    reports = [*train(Assignment(trial=trial, images=160, rungs=(8, 160), evaluations=(how,), **told))]
    first, last = (report.values[RUNG_METRIC] for report in reports if isinstance(report, Rung))
    assert last < 0.8 * first
    assert any(isinstance(report, Scored) for report in reports)
