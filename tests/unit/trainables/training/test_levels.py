"""A path of noise levels in training: any transformer learns on it, images stay apart, and its held-out error is its own."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.images import NoiseImages
from tests.support.networks import compiles_to_the_same, losses_stand_apart, traced
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import CLASSES, SIZE, batch, moved, small_model, small_trial
from tests.unit.trainables.training.test_learner import IMAGES, same, trained, weights
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe
from trainables.diffusion.stages import path_stages
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.evaluation.score import score_network
from trainables.networks.memory import Fit
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.batches import Batches
from trainables.training.learner import Learner
from trainables.training.step import EagerStep
from trainables.training.workers import Workers

HELD_OUT = NoiseImages(16, size=SIZE, classes=CLASSES)
HELD_OUT.heldout = HELD_OUT.train
KARRAS: dict[str, Any] = {
    "path": {"kind": "karras"},
    "noise_scale": 0.25,
    "t_sampling": {"kind": "logit_normal", "mu": 1.2, "sigma": 1.6},
}
TRUNKS: dict[str, dict[str, Any]] = {
    "transformer": {},
    "pixel head": {"head": {"kind": "neural_field", "width": 8}},
    "encoder_decoder": {"class_tokens": 0, "trunk": {"kind": "encoder_decoder", "decoder_width": 64}},
    "unet": {"class_tokens": 0, "trunk": {"kind": "unet", "width": 32, "blocks": 1, "head_channels": 8}},
}


def of(model: dict[str, Any] | None = None, *, diffusion: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(**(model or {})), diffusion={**KARRAS, **(diffusion or {})}, **changes)


def test_the_loss_of_an_image_is_its_x_error_at_its_level_by_the_next_level() -> None:
    trial = of()
    given, step = Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4), EagerStep(trial)
    step.network.load_state_dict(moved(trial).state_dict())
    levels = (80 ** (1 / 7) + torch.arange(1281, dtype=torch.float64) / 1279 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    with torch.no_grad():
        for index, found in enumerate(step(given)):
            drawn = (1 - given.t[index].double()) / given.t[index].double()
            number = int((levels[:-1] - drawn).abs().argmin())
            sigma, after = levels[number : number + 2].tolist()
            z = given.x[index] + sigma * given.e[index]
            seen, told = z / ((0.25 * sigma) ** 2 + 0.25) ** 0.5, torch.tensor([250 * torch.tensor(0.25 * sigma).log()])
            missed = step.network(seen[None].float(), told, given.y[index : index + 1])[0] - given.x[index]
            assert float(found) == pytest.approx(float(missed.square().mean()) / (sigma - after), rel=1e-3)


@pytest.mark.parametrize("model", TRUNKS.values(), ids=TRUNKS)
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(model: dict[str, Any]) -> None:
    losses_stand_apart(of(model))


@pytest.mark.slow
@pytest.mark.parametrize("model", TRUNKS.values(), ids=TRUNKS)
def test_every_trunk_learns_and_neither_cut_nor_recomputation_changes_what(model: dict[str, Any]) -> None:
    whole = trained(model=model, diffusion=KARRAS)
    cut = trained(model=model, diffusion=KARRAS, fit=Fit(2, activation_checkpointing=True))
    start = trained(steps=0, model=model, diffusion=KARRAS)
    assert all(torch.isfinite(tensor).all() for tensor in weights(whole))
    moved_by = torch.stack([(a - b).norm() for a, b in zip(weights(whole), weights(start), strict=True)])
    apart = torch.stack([(a - b).norm() for a, b in zip(weights(whole), weights(cut), strict=True)])
    assert float(apart.norm()) < 0.02 * float(moved_by.norm())


def test_a_trial_goes_on_bit_for_bit_where_it_was_saved() -> None:
    through, before = trained(steps=4, diffusion=KARRAS), trained(steps=2, diffusion=KARRAS)
    after = Learner(before.trial, IMAGES, workers=Workers())
    after.restore(before.parts(), before.state())
    for _ in range(2):
        after.update()
    assert same(through, after)


def test_terms_of_x_and_of_tokens_stand_beside_it() -> None:
    terms = [{"kind": "cosine"}, {"kind": "classifier"}]
    plain, more = trained(diffusion=KARRAS), trained(diffusion={**KARRAS, "loss": "x", "terms": terms})
    assert not all(torch.equal(a, b) for a, b in zip(weights(plain), weights(more), strict=False))


def test_its_held_out_error_is_of_its_own_kind_and_of_velocities_at_its_levels() -> None:
    trial, flow = of(), small_trial()
    grids = [HeldoutGrid(HELD_OUT, path=each.diffusion.path) for each in (trial, flow)]
    scores = [score_network(grid, moved(each), each) for grid, each in zip(grids, (trial, flow), strict=True)]
    assert scores[0].keys() == {"heldout_level_error"}
    assert "heldout_level_error" not in scores[1]
    few = of(diffusion={"path": {"kind": "karras", "levels": 20}})
    assert score_network(HeldoutGrid(HELD_OUT, path=few.diffusion.path), moved(few), few) != scores[0]


def test_a_blank_network_s_held_out_error_is_the_image_over_what_is_left_of_the_noise() -> None:
    trial, grid = of(), HeldoutGrid(HELD_OUT, path=of().diffusion.path)
    stage = path_stages(trial.diffusion.path)[0]
    images, quantiles = HELD_OUT.read(HELD_OUT.heldout) / 127.5 - 1, (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    t = torch.sigmoid(0.8 * (torch.special.ndtri(quantiles) - 1))  # image i meets times i modulo 8 and 8 more
    at = stage.example(images, images, t.float()).t
    left = (1 - at.view(2, 8)).pow(-2).sum(0)
    expected = float((images.square().mean((1, 2, 3)).view(-1, 8) * left).mean()) / 2
    error = score_network(grid, EagerStep(trial).network, trial)["heldout_level_error"]
    assert error == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_compiled_step_computes_what_an_eager_one_does() -> None:
    trial = of()
    given = Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4)
    stage, step = path_stages(trial.diffusion.path)[0], EagerStep(trial)
    torch.testing.assert_close(traced(lambda: step(given))(), step(given), rtol=2e-3, atol=1e-4)
    z, t, y = batch(2)
    compiles_to_the_same(moved(trial), *stage.seen(z, t, 0.25), y)


@pytest.mark.slow
def test_a_trial_is_trained_scored_and_learns(tmp_path: Path) -> None:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    trial = of(TRUNKS["encoder_decoder"], data=data, batch_size=8, optimiser={"learning_rate": 2e-3, "grad_clip": 1.0})
    how = EvaluationConfig(n=8, sampler="heun", steps=4, guidance=2.0, interval=(0.383, 0.84), weights="ema")
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    reports = [*train(Assignment(trial=trial, images=160, rungs=(8, 160), evaluations=(how,), **told))]
    first, last = (report.values["heldout_level_error"] for report in reports if isinstance(report, Rung))
    assert last < 0.8 * first
    assert any(isinstance(report, Scored) for report in reports)
