"""Masked tokens as a method: what an update sees, how samples are drawn, that it resumes, learns and refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.networks import goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import moved, small_model
from tests.unit.trainables.networks.test_masked_autoencoder import forced, masked, network_of
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_sampling
from trainables.config.space import LatentSpace
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import ImageSet, open_images
from trainables.diffusion.lift import AS_IT_IS
from trainables.evaluation.generate import generate
from trainables.evaluation.held_out import held_out
from trainables.evaluation.metrics.masked import HeldoutTokens
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRICS
from trainables.methods.masked_tokens import MaskedTokens, guidance_at
from trainables.networks.cost import forward_macs
from trainables.networks.embedding import images_of_patches, patches_of
from trainables.networks.masked_layout import uncoverings
from trainables.networks.memory import Fit
from trainables.networks.registry import build
from trainables.report import Rung, Scored
from trainables.train import train
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner
from trainables.training.step import EagerStep
from trainables.training.workers import Workers

CPU = torch.device("cpu")
WIDE = {"head_width": 256}
"""A head that noise of 192 numbers fits through."""
EVALUATION = EvaluationConfig(n=6, steps=4, head_steps=6, sampler="euler")


def few_images() -> ImageSet:
    return open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)


def few_images_trial(trunk: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    images = few_images()
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    return masked(trunk, model=small_model(class_tokens=0, patch_size=8), data=data, **changes)


@pytest.mark.parametrize(("limit", "most"), [(0.25, 0.25), (None, 1.0), (2.0, 2.0)])
def test_a_drawn_token_is_kept_within_its_limit(limit: float | None, most: float) -> None:
    trial = few_images_trial(WIDE)
    how = EVALUATION.model_copy(update={"token_limit": limit})
    assert float(drawn_by(trial, how).abs().max()) == pytest.approx(most)


@pytest.mark.parametrize("limit", [None, 3.0])
def test_codes_have_no_bound_but_the_one_that_is_given(limit: float | None) -> None:
    trial = few_images_trial(WIDE)
    encoder = {"kind": "file", "weights": "none", "sha256": "0" * 64}
    codes = trial.model_copy(update={"space": LatentSpace.model_validate({"encoder": encoder, "trunk": {"width": 32}})})
    drawn = float(drawn_by(codes, EVALUATION.model_copy(update={"token_limit": limit})).abs().max())
    assert drawn == pytest.approx(limit) if limit is not None else drawn > 10


def drawn_by(trial: TrialConfig, how: EvaluationConfig) -> Tensor:
    """As the method draws, before anything is clipped."""
    labels = torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        drawn: Tensor = MaskedTokens().draw(moved(trial), trial, how, labels, first=0, stepped=lambda _: None, guide=None)
    return drawn


def test_patches_become_the_image_again() -> None:
    images = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    assert torch.equal(images_of_patches(patches_of(images, 4), 4, 3), images)


def test_a_batch_is_the_same_however_it_is_cut_and_masks_as_many_tokens_of_every_image_of_an_update() -> None:
    trial = few_images_trial(batch_size=8)
    batches = Batches(trial, few_images(), device=CPU)
    counts = set()
    for update in range(6):
        first = 8 * update
        whole, parts = batches.take(first, 8), [batches.take(first + at, 2) for at in range(0, 8, 2)]
        for name in ("x", "e", "y", "route"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
        assert whole.route is not None
        masks = (whole.route[:, 0] < 0).sum(1).tolist()
        assert len({*masks}) == 1
        assert 12 <= masks[0] <= 16
        counts.add(masks[0])
        assert len({tuple(order.tolist()) for order in whole.route[:, 0]}) == 8
        assert bool(((whole.route[:, 1:] >= 0) & (whole.route[:, 1:] <= 1)).all())
        assert whole.e.shape == (8, 3, masks[0], 3 * 8 * 8)
    assert len(counts) > 1


def test_the_loss_is_that_of_masked_tokens_alone_and_an_images_own() -> None:
    trial = few_images_trial(method=forced(12))
    step = EagerStep(trial)
    step.network.load_state_dict(network_of(trial).state_dict())
    batch = Batches(trial, few_images(), device=CPU).take(0, 4)
    assert batch.route is not None
    losses = step(batch)
    visible = batch.route[:, :1] >= 0
    route = batch.route.clone()
    route[:, 1:] = route[:, 1:].masked_fill(visible, 0.5)
    torch.testing.assert_close(step(Batch(x=batch.x, e=batch.e, t=batch.t, y=batch.y, route=route)), losses)
    halves = [
        step(Batch(x=batch.x[at], e=batch.e[at], t=batch.t[at], y=batch.y[at], route=batch.route[at]))
        for at in (slice(2), slice(2, 4))
    ]
    torch.testing.assert_close(torch.cat(halves), losses)
    other = batch.e.clone()
    other[0] += 1
    changed = step(Batch(x=batch.x, e=other, t=batch.t, y=batch.y, route=batch.route))
    assert (changed != losses).tolist() == [True, False, False, False]


def test_the_loss_asks_for_no_number_of_a_tensor() -> None:
    """Tensors without numbers have a loss, so that a GPU is never waited for."""
    trial = few_images_trial(method=forced(12))
    batch, step = Batches(trial, few_images(), device=CPU).take(0, 4), EagerStep(trial)
    step(batch)  # what is made on first use has numbers
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert step(batch).shape == (4,)


def test_it_goes_on_bit_for_bit_from_where_it_was_saved() -> None:
    images, trial = few_images(), few_images_trial({"dropout": 0.1}, batch_size=4)
    through, resumed = (Learner(trial, images, workers=Workers()) for _ in range(2))
    goes_on_bit_for_bit(through, resumed)


def test_a_micro_batch_changes_nothing_but_the_last_bits() -> None:
    images, trial = few_images(), few_images_trial(batch_size=8)
    weights = []
    for size in (8, 2):
        learner = Learner(trial, images, workers=Workers(), fit=Fit(size, activation_checkpointing=False))
        for _ in range(3):
            learner.update()
        weights.append(dict(learner.network.named_parameters()))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("tokens", "steps"), [(16, 4), (64, 64), (16, 1), (16, 100), (1, 5)])
def test_every_token_is_drawn_once_by_the_cosine_schedule(tokens: int, steps: int) -> None:
    made = uncoverings(tokens, steps=steps)
    assert [step.before for step in made] == [tokens, *(step.after for step in made[:-1])]
    assert made[-1].after == 0
    assert all(step.after < step.before for step in made)
    if (tokens, steps) == (16, 4):
        assert [step.after for step in made] == [14, 11, 6, 0]  # floor of 16 cos(pi/8), cos(pi/4), cos(3 pi/8), and 0
    if (tokens, steps) == (16, 100):
        assert all(step.before - step.after == 1 for step in made)


def test_guidance_grows_with_the_tokens_that_are_drawn() -> None:
    made = uncoverings(16, steps=4)
    assert [guidance_at(step, 3.0, tokens=16) for step in made] == pytest.approx([1.25, 1.625, 2.25, 2.875])
    assert {guidance_at(step, 1.0, tokens=16) for step in made} == {1.0}


def drawn(trial: TrialConfig, labels: Tensor, *, first: int = 0, **changes: Any) -> Tensor:
    how = EvaluationConfig.model_validate({**EVALUATION.model_dump(), **changes})
    with torch.no_grad():
        return MaskedTokens().draw(network_of(trial), trial, how, labels, first=first, stepped=lambda _: None, guide=None)


def test_a_sample_is_its_place_s_own_whoever_draws_it() -> None:
    trial, labels = few_images_trial(), torch.tensor([0, 1, 2, 3, 4, 5])
    whole = drawn(trial, labels, guidance=2.0)
    assert whole.shape == (6, 3, 32, 32)
    parts = [drawn(trial, labels[at], first=at.start, guidance=2.0) for at in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-2, atol=1e-2)
    assert (whole[0] - whole[1]).abs().max() > 0.1


def test_what_an_evaluation_says_of_steps_guidance_and_temperature_is_heard() -> None:
    trial, labels = few_images_trial(), torch.zeros(2, dtype=torch.int64)
    one = drawn(trial, labels)
    of_a_token = ({"temperature": 0.5}, {"head_steps": 7}, {"token_limit": 0.5})
    for changes in ({"steps": 8}, {"guidance": 2.0}, *of_a_token, {"seed": 1}):
        assert (drawn(trial, labels, **changes) - one).abs().max() > 1e-3
    for unheard in ({"sampler": "heun"}, {"shift": 2.0}, {"interval": (0.2, 0.9)}, {"t_eps_sample": 0.3}):
        assert torch.equal(drawn(trial, labels, **unheard), one)
    told: list[int] = []
    with torch.no_grad():
        MaskedTokens().draw(network_of(trial), trial, EVALUATION, labels, first=0, stepped=told.append, guide=None)
    assert told[-1] == EVALUATION.steps
    assert told == sorted(told)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_what_a_sample_costs_is_counted_in_passes_of_training(guidance: float) -> None:
    trial = few_images_trial(attention="fp32")
    how = EVALUATION.model_copy(update={"guidance": guidance})
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network, labels = build(trial), torch.zeros(2, dtype=torch.int64)
        MaskedTokens().draw(network, trial, how, labels, first=0, stepped=lambda _: None, guide=None)
    exact = counter.get_total_flops() / (2 * 2 * forward_macs(trial))
    assert MaskedTokens().passes(trial, how) == max(1, round(exact))


def test_the_held_out_error_of_who_says_no_noise_is_one_and_hears_no_setting_of_training() -> None:
    images, trial = few_images(), few_images_trial()
    grid = held_out(trial, images, space=AS_IT_IS)
    assert isinstance(grid, HeldoutTokens)
    own = RUNG_METRICS[trial.error_kind]
    assert METRICS[own].of_network(grid, build(trial), trial) == pytest.approx(grid.mean_image_error, abs=0.02)
    network = network_of(trial)
    first = METRICS[own].of_network(grid, network, trial)
    other = few_images_trial(method={"mask_least": 0.2, "head_repeats": 1})
    assert METRICS[own].of_network(HeldoutTokens(images), network, other) == pytest.approx(first)
    assert METRICS[own].of_network(HeldoutTokens(images, seed=1), network, trial) != first


def test_the_class_alone_of_the_diffusion_is_part_of_its_id() -> None:
    trial = few_images_trial()
    assert few_images_trial(diffusion={"prediction": "v", "noise_scale": 2.0}).id == trial.id
    assert few_images_trial(diffusion={"label_drop": 0.2}).id != trial.id != few_images_trial(method={"mask_least": 0.5}).id
    assert few_images_trial({"head_width": 16}).id != trial.id
    assert masked(model=small_model(class_tokens=0, norm="layer")).id == masked().id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compile": True}, "without compile, graphs or dimensions, got compile=true; leave them out"),
        ({"diffusion": {"dimensions": 4096}}, "got dimensions=4096"),
        ({"optimiser": {"method": "muon"}}, "it takes adamw and torch's kernels, without .* got optimiser=muon"),
        ({"method": {"kind": "denoiser"}}, "`method` masked_tokens trains the trunk masked_autoencoder, and no other"),
    ],
)
def test_what_it_cannot_be_trained_with_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrialConfig.model_validate({**few_images_trial().model_dump(), **changes})


def test_a_decoder_s_heads_divide_its_width_and_guidance_needs_a_null_class() -> None:
    with pytest.raises(ValueError, match="`decoder_heads` must divide decoder_width, got decoder_heads=4, decoder_width=42"):
        masked({"decoder_width": 42})
    trial = few_images_trial(diffusion={"label_drop": 0.0})
    with pytest.raises(ValueError, match="`guidance` other than 1 needs the null label"):
        check_sampling(trial.diffusion, EVALUATION.model_copy(update={"guidance": 2.0}), num_classes=9)


@pytest.mark.slow
def test_it_is_trained_scored_and_learns(tmp_path: Path) -> None:
    trial = few_images_trial(WIDE, batch_size=8, optimiser={"learning_rate": 2e-3}, ema=[])
    how = EVALUATION.model_copy(update={"n": 8, "weights": "raw", "guidance": 1.5})
    told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path)}
    own = RUNG_METRICS["masked_tokens"]
    reports = [*train(Assignment(trial=trial, images=320, rungs=(8, 320), rung_metric=own, evaluations=(how,), **told))]
    first, last = (report.values for report in reports if isinstance(report, Rung))
    assert last[own] < 0.7 * first[own]
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert {own, "fd_efflite0_96"} <= scored.values.keys()
    assert not {"heldout_v_error", "heldout_psnr"} & scored.values.keys()


@pytest.mark.slow
def test_samples_of_who_has_learned_are_nearer_to_the_images_than_those_of_who_has_not(tmp_path: Path) -> None:
    file, generator = tmp_path / "dark.npz", np.random.default_rng(0)
    dark = (64 + generator.normal(0, 10, (64, 8, 8, 3))).clip(0, 255).astype(np.uint8)
    np.savez(file, images=dark, labels=np.zeros(64, dtype=np.int64))
    images = open_images(str(file), holdout=8)
    data = DataConfig(digest=images.fingerprint, image_size=8, num_classes=1)
    small = small_model(class_tokens=0, patch_size=2, width=32, depth=1)
    trial = masked({"head_width": 64}, model=small, data=data, batch_size=8, optimiser={"learning_rate": 5e-3}, ema=[])
    learner = Learner(trial, images, workers=Workers())

    def away() -> float:
        how = EVALUATION.model_copy(update={"steps": 2, "head_steps": 15})
        drawn = generate(learner.network, trial, how, torch.zeros(8, dtype=torch.int64)).float()
        return float((drawn - 64).square().mean())

    before = away()
    for _ in range(60):
        learner.update()
    assert away() < 0.2 * before
