"""An update: its learning rate, its clip, where its weights start, and that how it is computed changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from trainables.config.optimiser import Constant, Cosine, OptimiserConfig
from trainables.config.trial import TrialConfig
from trainables.networks.memory import Fit
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner
from trainables.training.optimiser import learning_rate
from trainables.training.workers import Workers

IMAGES = NoiseImages(24, size=SIZE, classes=CLASSES)


def trained(*, steps: int = 3, fit: Fit | None = None, model: dict[str, Any] | None = None, **changes: Any) -> Learner:
    learner = Learner(small_trial(small_model(**(model or {})), **changes), IMAGES, workers=Workers(), fit=fit)
    for _ in range(steps):
        learner.update()
    return learner


def weights(learner: Learner) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in learner.network.parameters()]


def same(a: Learner, b: Learner) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def rate(images: int, *, batch_size: int = 4, **config: Any) -> float:
    return learning_rate(small_trial(optimiser=OptimiserConfig(**config), batch_size=batch_size), images=images)


def test_a_rate_given_outright_is_the_rate_and_one_that_scales_is_jits() -> None:
    assert rate(100, learning_rate=2e-4) == 2e-4
    assert rate(2048, learning_rate=5e-5, scale_with_batch=True, batch_size=1024) == pytest.approx(2e-4)
    assert rate(2048, learning_rate=5e-5, scale_with_batch=True, batch_size=256) == 5e-5


def test_the_warm_up_is_linear_and_a_cosine_follows_it_to_its_final_share() -> None:
    config: dict[str, Any] = {"learning_rate": 1.0, "warmup_images": 100, "schedule": Cosine(total_images=1100, final=0.2)}
    found = [rate(images, **config) for images in (50, 100, 350, 600, 1100, 5000)]
    quarter = 0.2 + 0.8 * 0.5 * (1 + 2**-0.5)
    assert found == pytest.approx([0.5, 1.0, quarter, 0.6, 0.2, 0.2])
    assert rate(5000, **{**config, "schedule": Constant()}) == 1.0


def test_a_cosine_without_an_end_after_its_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match="`schedule.total_images` must be above warmup_images, got total_images=10"):
        small_trial(optimiser=OptimiserConfig(warmup_images=10, schedule=Cosine(total_images=10)))


def test_a_clip_changes_the_weights_only_where_the_gradient_is_longer_than_it() -> None:
    free, loose, tight = (trained(optimiser=OptimiserConfig(grad_clip=clip)) for clip in (None, 1e6, 1e-4))
    assert same(free, loose)
    assert not same(free, tight)


def test_the_gradients_norm_of_the_last_update_can_be_read() -> None:
    learner = trained(steps=0)
    assert learner.health.grad_norm() is None
    learner.update()
    norm = learner.health.grad_norm()
    assert norm is not None
    assert 0 < norm < 1e3
    clipped = trained(steps=1, optimiser=OptimiserConfig(grad_clip=norm / 2))
    assert clipped.health.grad_norm() == norm


def test_once_something_was_not_finite_no_further_update_is_applied() -> None:
    learner = trained(steps=2)
    learner.health.diverged.fill_(1.0)
    before, state = weights(learner), {name: tensor.clone() for name, tensor in learner.parts()["optimiser"].items()}
    learner.update()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(learner), strict=True))
    after = learner.parts()["optimiser"]
    assert all(torch.equal(tensor, after[name]) for name, tensor in state.items())


def test_adamw_has_the_configured_betas_and_decays_matrices_alone() -> None:
    config = OptimiserConfig(beta1=0.8, beta2=0.7, weight_decay=0.5, learning_rate=0.1)
    learner = trained(steps=0, optimiser=config)
    matrices, vectors = learner.optimiser.param_groups
    assert [group["betas"] for group in (matrices, vectors)] == [(0.8, 0.7)] * 2
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    assert {p.ndim for p in vectors["params"]} == {1}
    plain = trained(steps=1, optimiser=config.model_copy(update={"weight_decay": 0.0}))
    learner.update()
    pairs = list(zip(weights(learner), weights(plain), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs if a.ndim == 1)
    assert any(not torch.equal(a, b) for a, b in pairs if a.ndim > 1)


def test_half_of_the_images_are_mirrored_and_a_share_of_the_labels_dropped_where_asked() -> None:
    def taken(**changes: Any) -> Batch:
        base = small_trial()
        data = base.data.model_copy(update={"flip": changes.pop("flip", False)})
        trial = TrialConfig.model_validate({**base.model_dump(), "data": data, "diffusion": changes})
        return Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 400)

    plain, mirrored = taken(label_drop=0.0), taken(label_drop=0.0, flip=True)
    flipped = [torch.equal(a.flip(-1), b) for a, b in zip(plain.x, mirrored.x, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(plain.x, mirrored.x, strict=True)]
    assert sum(flipped) + sum(kept) == 400
    assert 150 < sum(flipped) < 250
    assert not (plain.y == CLASSES).any()
    assert 60 < int((taken(label_drop=0.25).y == CLASSES).sum()) < 140
    assert torch.equal(taken(noise_scale=2.0).e, 2 * plain.e)
    assert not torch.equal(taken(t_sampling={"kind": "uniform"}).t, plain.t)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_recomputed_activations_give_the_same_weights_bit_for_bit(dropout: float) -> None:
    kept, recomputed = (
        trained(fit=Fit(4, activation_checkpointing=recomputed), model={"dropout": dropout}) for recomputed in (False, True)
    )
    assert same(kept, recomputed)


def test_recomputing_keeps_less_for_the_backward_pass() -> None:
    def kept(recomputed: bool) -> int:
        learner = trained(steps=0, fit=Fit(4, activation_checkpointing=recomputed))
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            learner.image_losses(Batches(learner.trial, IMAGES, device=torch.device("cpu")).take(0, 4))
        return sum(sizes)

    assert kept(True) < kept(False) / 3


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"attention": "fp32"}], ids=str)
def test_precision_and_attention_change_the_weights_a_little(change: dict[str, Any]) -> None:
    plain, other = trained(), trained(**change)
    assert not same(plain, other)
    assert other.health.mean_loss() == pytest.approx(plain.health.mean_loss(), rel=2e-2)


def test_a_child_begins_with_its_parents_weights_in_every_average() -> None:
    parent, child = trained(steps=3), trained(steps=0, seed=7)
    child.begin_from(parent.parts()["model"])
    assert same(parent, child)
    assert child.step == 0
    assert all(torch.equal(child.averages.tensors["ema"][name], value) for name, value in parent.parts()["model"].items())


def test_a_parent_of_another_shape_is_refused_by_name() -> None:
    parent = trained(steps=0, model={"depth": 5})
    with pytest.raises(ValueError, match=r"the trial's shape, got a difference in blocks\.4"):
        trained(steps=0).begin_from(parent.parts()["model"])


def test_an_unconditional_trial_learns_without_labels_to_drop() -> None:
    data = small_trial().data.model_copy(update={"num_classes": 1})
    trial = TrialConfig.model_validate({**small_trial().model_dump(), "data": data})
    learner = Learner(trial, NoiseImages(24, size=SIZE, classes=1), workers=Workers())
    batch = Batches(trial, NoiseImages(24, size=SIZE, classes=1), device=torch.device("cpu")).take(0, 400)
    assert set(batch.y.tolist()) == {0}
    learner.update()
    assert learner.health.divergence(Workers()) is None


def test_labels_that_the_network_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.4, got 0\.\.6; the trial has num_classes=5"):
        Learner(small_trial(), NoiseImages(24, size=SIZE, classes=7), workers=Workers())


def test_batches_do_not_depend_on_how_they_are_cut_and_cross_epochs() -> None:
    batches = Batches(small_trial(), IMAGES, device=torch.device("cpu"))
    whole, parts = batches.take(20, 12), [batches.take(20, 5), batches.take(25, 7)]
    for name in ("x", "e", "t", "y"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
