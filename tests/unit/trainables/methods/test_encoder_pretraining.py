"""The method encoder_pretraining: its loss, its draws, its target, and that its trials train, go on and are begun from."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.encoders import OWN, SIZES, pretraining
from tests.support.networks import goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, moved, small_model, small_trial
from trainables.assignment import Assignment
from trainables.config.average import TARGET
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import identity
from trainables.config.method import EncoderPretrainingMethod
from trainables.config.recipe import Parent
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import ImageSet, describe, open_images
from trainables.diffusion.karras_grid import sigmas
from trainables.draws.philox import PhiloxDraws
from trainables.evaluation.metrics.contrast import HeldoutViews, contrast
from trainables.methods.encoder_pretraining import EncoderPretraining, info_nce
from trainables.methods.views import view
from trainables.networks.encoder_pretrainer import EncoderPretrainer
from trainables.networks.memory import Fit, fit
from trainables.networks.registry import build
from trainables.report import Ended, Rung, Scored
from trainables.storage.checkpoint import Store
from trainables.train import train
from trainables.training.batches import Batches
from trainables.training.learner import Learner, share_of
from trainables.training.views import levels_and_views, levels_of
from trainables.training.workers import Workers

CPU = torch.device("cpu")


def few() -> ImageSet:
    return open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)


def few_images_trial(**changes: Any) -> TrialConfig:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    return pretraining(data=data, model={"patch_size": 8}, **changes)


def drawn(trial: TrialConfig, first: int, count: int) -> torch.Tensor:
    levels = levels_of(trial, first=first)
    return levels_and_views(PhiloxDraws(trial.seed), trial, first=torch.tensor(first), count=count, levels=levels)


def test_an_image_s_loss_hangs_on_its_group_and_on_nothing_else() -> None:
    trial = pretraining(batch_size=8, method={"group": 4})
    network, method = moved(trial), EncoderPretraining()
    (x, t, y), route = batch(8), drawn(trial, 0, 8)

    def losses(at: slice) -> torch.Tensor:
        with torch.no_grad():
            return method.losses(network, x[at], x.flip(0)[at], t[at], y[at], 0.0, route[at], {})

    whole, parts = losses(slice(None)), torch.cat([losses(slice(4)), losses(slice(4, 8))])
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)
    x[7] += 1
    moved_on = losses(slice(None))
    assert torch.equal(moved_on[:4], losses(slice(4)))
    assert (moved_on[4:] != whole[4:]).all()


def test_an_update_s_loss_and_gradient_are_the_same_whatever_its_micro_batches() -> None:
    images, trial = few(), few_images_trial(batch_size=8)
    learners = [
        Learner(trial, images, workers=Workers(), fit=Fit(micro, activation_checkpointing=recomputed))
        for micro, recomputed in ((8, False), (2, False), (4, True))
    ]
    for learner in learners:
        learner.update()
    first, *others = ((learner.health.mean_loss(), learner.health.grad_norm()) for learner in learners)
    for other in others:
        assert other == pytest.approx(first, rel=1e-5)


def test_the_contrast_is_the_cross_entropy_of_the_own_key_by_cosines() -> None:
    a, b = torch.randn(4, 5), torch.randn(4, 5)
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
    expected = [-(cosines[i] / 0.5).log_softmax(0)[i] for i in range(4)]
    torch.testing.assert_close(info_nce(a, b, 0.5, 4), torch.stack(expected))
    apart = torch.cat([info_nce(a[:2], b[:2], 0.5, 2), info_nce(a[2:], b[2:], 0.5, 2)])
    torch.testing.assert_close(info_nce(a, b, 0.5, 2), apart)


def test_a_view_of_the_whole_is_the_image_a_mirrored_one_turns_it_and_crops_lie_where_they_are_told() -> None:
    x = batch(2)[0]
    whole = torch.tensor([0.0, 1.0, 0.3, 0.8]).expand(2, -1)
    torch.testing.assert_close(view(x, whole, least_side=0.5), x, rtol=0, atol=1e-5)
    turned = torch.tensor([0.9, 1.0, 0.3, 0.8]).expand(2, -1)
    torch.testing.assert_close(view(x, turned, least_side=0.5), x.flip(-1), rtol=0, atol=1e-5)
    coarse = x[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)
    right_top = view(coarse, torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(2, -1), least_side=0.5)
    corner = coarse[..., :8, 8:].repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(right_top[..., 1:-1:4, 1:-1:4], corner[..., 1:-1:4, 1:-1:4])


def test_one_pair_of_neighbouring_levels_holds_for_an_update_however_it_is_cut() -> None:
    trial = pretraining(batch_size=8, method={"first_levels": 3, "doubling_images": 80})
    whole = drawn(trial, 16, 8)
    cut = torch.cat([drawn(trial, first, 2) for first in (16, 18, 20, 22)])
    assert torch.equal(whole, cut)
    assert (whole[:, :2] == whole[0, :2]).all()
    grid = np.array(sigmas(4), np.float32)
    pairs = {tuple(drawn(trial, first, 1)[0, :2].tolist()) for first in range(0, 80, 8)}
    assert pairs <= {(float(grid[i]), float(grid[i + 1])) for i in range(3)}
    assert len(pairs) > 1


def test_levels_double_until_there_are_as_many_as_may_be() -> None:
    method = EncoderPretrainingMethod(first_levels=20, last_levels=1280, doubling_images=100)
    found = [method.levels_at(images) for images in (0, 99, 100, 250, 599, 600, 10**12)]
    assert found == [20, 20, 40, 80, 640, 1280, 1280]
    later = drawn(pretraining(batch_size=4, method={"doubling_images": 4}), 4 * 50, 1)[0, :2].numpy()
    grid = np.array(sigmas(1281), np.float32)
    at = int(np.abs(grid - later[0]).argmin())
    assert later == pytest.approx(grid[at : at + 2], rel=1e-6)


def test_views_are_an_image_s_own_and_mirrored_only_where_the_data_may_be() -> None:
    plain = DataConfig(digest="none", image_size=16, num_classes=5, flip=False)
    mirrored, straight = drawn(pretraining(), 0, 64)[:, 2::4], drawn(pretraining(data=plain), 0, 64)[:, 2::4]
    assert 0.3 < float((mirrored > 0.5).float().mean()) < 0.7
    assert (straight <= 0.5).all()
    numbers = drawn(pretraining(), 0, 64)[:, 2:]
    assert len({tuple(row.tolist()) for row in numbers}) == 64
    assert not torch.equal(numbers[:, :4], numbers[:, 4:])


def test_the_loss_looks_at_the_target_which_changes_as_its_average_does() -> None:
    images, trial = few(), few_images_trial(method={"target_decay": 0.75}, optimiser={"learning_rate": 1e-3})
    learner = Learner(trial, images, workers=Workers())
    before = {name: p.detach().clone() for name, p in learner.network.named_parameters()}
    learner.update()
    for name, parameter in learner.network.named_parameters():
        expected = 0.75 * before[name] + 0.25 * parameter.detach()
        torch.testing.assert_close(learner.averages.tensors[TARGET][name], expected)
    given = Batches(trial, images, device=CPU).take(0, 4)
    with torch.no_grad():
        found = learner.image_losses(given)
        for tensor in learner.averages.tensors[TARGET].values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)))
        assert not torch.equal(learner.image_losses(given), found)


def test_it_goes_on_bit_for_bit_from_where_it_was_saved() -> None:
    images, trial = few(), few_images_trial(method={"doubling_images": 4})
    for part in ("model", TARGET):
        goes_on_bit_for_bit(*(Learner(trial, images, workers=Workers()) for _ in range(2)), part=part)


def test_batches_shares_and_micro_batches_hold_whole_groups() -> None:
    with pytest.raises(
        ValueError, match="`batch_size` must be a multiple of the method's group, got batch_size=4, group=3; .*=3"
    ):
        pretraining(method={"group": 3})
    trial = pretraining(batch_size=12, method={"group": 4})
    with pytest.raises(
        ValueError, match="share of a batch must hold whole groups of the method, got 6 images a worker, group=4"
    ):
        share_of(trial, Workers(size=2))
    with pytest.raises(ValueError, match="`micro_batch` must hold whole groups of the method, got 6, group=4; try 4"):
        fit(trial, share=12, memory_bytes=None, micro_batch=6)
    assert fit(trial, share=12, memory_bytes=10**9).micro_batch == 12


REFUSED: dict[str, dict[str, Any]] = {
    "`method` encoder_pretraining trains the trunk encoder_pretrainer, and no other": {"method": {"kind": "denoiser"}},
    "takes adamw, torch's kernels and an even `width`.* got compile=true": {"compile": True},
    "got optimiser=muon": {"optimiser": {"method": "muon"}},
    "got dimensions=100": {"diffusion": {"dimensions": 100}},
    "`ema` must name each average once, and none of them model, optimiser, raw, target": {
        "ema": [{"kind": "decay", "name": "target"}]
    },
    "`first_levels` must be at most last_levels, got first_levels=4, last_levels=2": {
        "method": {"kind": "encoder_pretraining", "group": 2, "first_levels": 4, "last_levels": 2}
    },
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=lambda value: str(value)[:40])
def test_what_it_cannot_be_is_refused(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig.model_validate({**pretraining().model_dump(), **changes})


def test_its_id_has_its_noise_and_nothing_else_of_the_diffusion() -> None:
    own = pretraining().id
    assert (
        pretraining(diffusion={"prediction": "v", "loss": "x", "label_drop": 0.5, "t_sampling": {"kind": "uniform"}}).id == own
    )
    assert pretraining(diffusion={"noise_scale": 2.0}).id != own
    assert identity(pretraining())["diffusion"].keys() == {"noise_scale"}


def test_the_held_out_contrast_is_chance_of_one_token_for_all_and_an_image_s_own_once_it_is_known() -> None:
    images, trial = few(), few_images_trial()
    grid, network = HeldoutViews(images), moved(trial)
    assert isinstance(network, EncoderPretrainer)
    with torch.no_grad():
        network.encoder.norm.weight.zero_()
    assert contrast(grid, network, trial) == pytest.approx(math.log(grid.group), rel=1e-5)
    other = contrast(grid, moved(trial), trial)
    assert other == contrast(grid, moved(trial), trial) == contrast(HeldoutViews(images), moved(trial), trial)
    surprises = grid.surprises(moved(trial), trial)
    assert surprises.shape == (4, grid.images)
    assert surprises.min() >= 0


def blobs(folder: Path) -> tuple[DataConfig, dict[str, Any]]:
    """Images of 16 px of one colour each, with a darker corner, and what an assignment says of where they are."""
    generator = np.random.default_rng(0)
    images = np.repeat(np.repeat(generator.integers(0, 255, (72, 2, 2, 3), dtype=np.uint8), 8, 1), 8, 2)
    np.savez(folder / "blobs.npz", images=images, labels=np.arange(72) % 2)
    told: dict[str, Any] = {"data": str(folder / "blobs.npz"), "holdout": 32, "storage": str(folder)}
    return DataConfig(digest=describe(told["data"], holdout=32).digest, image_size=16, num_classes=2), told


@pytest.mark.slow
def test_a_trained_one_knows_images_that_it_never_saw_and_a_denoiser_s_encoder_begins_from_it(tmp_path: Path) -> None:
    data, told = blobs(tmp_path)
    recipe: dict[str, Any] = {"batch_size": 16, "optimiser": {"learning_rate": 1e-3}, "ema": []}
    trial = pretraining(data=data, method={"group": 16}, model={"patch_size": 8}, **recipe)
    how = EvaluationConfig(n=4, sampler="euler", steps=2, t_eps_sample=0.05, weights="raw")
    reports = [*train(Assignment(trial=trial, images=640, rungs=(16, 640), rung_metric=OWN, evaluations=(how,), **told))]
    first, last = (report for report in reports if isinstance(report, Rung))
    assert last.values[OWN] < first.values[OWN]
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert scored.values.keys() == {OWN}
    assert (scored.grid, scored.collapsed) == ("", False)
    assert isinstance(reports[-1], Ended)
    assert reports[-1].outcome == "done"

    model = small_model(**SIZES, depth=2, patch_size=8, trunk={"kind": "encoder_decoder"})
    parent = Parent(trial=trial.id, images=640, parts=("encoder",))
    karras = {"path": {"kind": "karras"}, "loss": "x"}
    child = small_trial(model, data=data, diffusion=karras, parent=parent, **{**recipe, "optimiser": {"learning_rate": 1e-12}})
    reports = [*train(Assignment(trial=child, images=16, rungs=(16,), evaluations=(how,), scores=False, **told))]
    assert isinstance(reports[-1], Ended)
    assert reports[-1].outcome == "trained"
    begun, pretrained = (weights_of(each, told) for each in (child, trial))
    own = {name: p.detach() for name, p in build(child).named_parameters()}
    for name, tensor in begun.items():
        expected = pretrained[name] if name.startswith("encoder.") else own[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)
    assert any(not torch.allclose(pretrained[name], own[name], atol=1e-3) for name in own if name.startswith("encoder."))


def weights_of(trial: TrialConfig, told: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the trial's last checkpoint holds."""
    store = Store(told["storage"])
    commit = store.latest(trial.id, most_images=10**9)
    assert commit is not None
    weights: dict[str, torch.Tensor] = store.read(commit).tensors["model"]
    return weights
