"""Guidance by a classifier: its push is Bayes' rule along the flow, every sample has it, and what cannot guide is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.classifiers import classifier, of_shades
from tests.support.trials import batch, moved, small_model, small_trial
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig, unread
from trainables.config.evaluation_rules import check_evaluation, check_guide, check_sampling
from trainables.config.trial import TrialConfig
from trainables.data import DataError, open_images
from trainables.data.pixels import to_unit
from trainables.diffusion.classifier_guidance import push
from trainables.diffusion.sampler import guided_passes, sample
from trainables.evaluation.evaluator import Evaluator
from trainables.evaluation.generate import drawing, generate
from trainables.methods.guiding import guide_of, guiding_flops
from trainables.methods.registry import method_of
from trainables.networks.cost import forward_flops
from trainables.networks.registry import build
from trainables.report import Ended, Rung, Scored
from trainables.storage.checkpoint import Store
from trainables.train import train

CPU = torch.device("cpu")


class TwoNormals(nn.Module):
    """x ~ N(+-M, 1) in every pixel by its class: what of it a classifier of z = t x + (1 - t) s n knows, exactly."""

    mean = 0.4

    def __init__(self, noise_scale: float) -> None:
        super().__init__()
        self.s = noise_scale

    def variance(self, t: Tensor) -> Tensor:
        return t**2 + (1 - t) ** 2 * self.s**2

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        t = t.view(-1, 1, 1, 1)
        return torch.stack([-((z - sign * t * self.mean) ** 2 / (2 * self.variance(t))).sum((1, 2, 3)) for sign in (1, -1)], 1)

    def velocities(self, z: Tensor, t: Tensor) -> Tensor:
        """v = (E[x | z, y] - z) / (1 - t) of each class, [2, B, C, H, W]."""
        t = t.view(-1, 1, 1, 1)
        means = torch.tensor([self.mean, -self.mean]).view(2, 1, 1, 1, 1)
        return (means + t / self.variance(t) * (z - t * means) - z) / (1 - t)


@pytest.mark.parametrize("noise_scale", [1.0, 2.0])
@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
def test_an_exact_classifier_turns_the_velocity_of_all_into_that_of_a_class(t: float, noise_scale: float) -> None:
    z, _, labels = batch(3)
    known, labels, times = TwoNormals(noise_scale), labels % 2, torch.full((3,), t)
    of_class = known.velocities(z, times)
    chances = known(z, times).softmax(1).T.view(2, 3, 1, 1, 1)
    of_all = (chances * of_class).sum(0)
    guided = of_all + push(known, z, t, labels, scale=1.0, noise_scale=noise_scale, t_eps=0.01)
    torch.testing.assert_close(guided, of_class[labels, torch.arange(3)], rtol=1e-3, atol=1e-3)


def test_the_push_is_the_difference_quotient_of_the_log_probability() -> None:
    network, (z, _, y) = moved(classifier()).requires_grad_(False), batch(2)
    found = push(network, z, 0.3, y, scale=3.0, noise_scale=2.0, t_eps=0.05)
    direction, times = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)), torch.full((2,), 0.3)

    def log_probability(step: float) -> Tensor:
        return F.log_softmax(network(z + step * direction, times).double(), 1)[torch.arange(2), y]

    quotient = (log_probability(0.01) - log_probability(-0.01)) / 0.02
    torch.testing.assert_close(
        (found * direction).sum((1, 2, 3)).double(), 3.0 * 4.0 * 0.7 / 0.3 * quotient, rtol=0.01, atol=0.01
    )


def test_it_takes_its_gradient_in_fp32_where_none_is_kept() -> None:
    network, (z, _, y) = moved(classifier()).requires_grad_(False), batch(2)
    outside = push(network, z, 0.3, y, scale=1.0, noise_scale=1.0, t_eps=0.05)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        within = push(network, z.clone(), 0.3, y.clone(), scale=1.0, noise_scale=1.0, t_eps=0.05)
    assert torch.equal(within, outside)
    assert outside.abs().max() > 0


def test_a_small_t_is_clamped() -> None:
    network, (z, _, y) = moved(classifier()).requires_grad_(False), batch(2)
    told: dict[str, Any] = {"scale": 1.0, "noise_scale": 1.0}
    wide, narrow = (push(network, z, 0.0, y, t_eps=t_eps, **told) for t_eps in (0.1, 0.05))
    torch.testing.assert_close(2 * wide, narrow)
    assert torch.isfinite(narrow).all()


NAMED = {"trial": "0" * 12, "images": 8}


def how(**changes: Any) -> EvaluationConfig:
    return EvaluationConfig.model_validate({"n": 4, "sampler": "euler", "steps": 4, "weights": "raw", **changes})


def test_without_a_classifier_that_acts_nothing_of_an_evaluation_changes() -> None:
    off = how(classifier=NAMED, classifier_scale=0.0)
    assert off.id == how().id == how(classifier_scale=2.0).id
    assert len({how(classifier=NAMED, classifier_scale=scale).id for scale in (0.0, 1.0, 2.0)}) == 3
    trial = small_trial()
    network, guide, (_, _, y) = moved(trial), moved(classifier()).requires_grad_(False), batch(4)
    plain = generate(network, trial, how(), y)
    assert torch.equal(generate(network, trial, off, y), plain)
    assert torch.equal(generate(network, trial, off, y, guide=guide), plain)
    assert not torch.equal(generate(network, trial, how(classifier=NAMED), y, guide=guide), plain)


@pytest.mark.parametrize(("interval", "asked"), [((0.0, 1.0), 4), ((0.3, 0.8), 2)])
def test_it_acts_within_the_interval_and_is_asked_as_often_as_is_counted(interval: tuple[float, float], asked: int) -> None:
    trial, evaluation = small_trial(), how(classifier=NAMED, interval=interval)
    guide, seen = moved(classifier()).requires_grad_(False), []
    guide.register_forward_pre_hook(lambda _, given: seen.append(float(given[1][0])))
    with drawing(moved(trial), trial, evaluation, batch(2)[2], guide=guide) as draw:
        draw(slice(0, 2))
    assert len(seen) == asked == guided_passes(evaluation)
    assert all(interval[0] <= t < interval[1] for t in seen)
    assert guided_passes(how()) == 0
    assert guiding_flops(guide.trial) == 2 * forward_flops(guide.trial)


def denoiser(trial: TrialConfig, **changes: Any) -> TrialConfig:
    """Of the same images."""
    model = small_model(patch_size=2, class_tokens=0)
    return small_trial(model, data=trial.data, batch_size=8, optimiser={"learning_rate": 2e-3}, **changes)


def trained(trial: TrialConfig, told: dict[str, Any], *evaluations: EvaluationConfig, images: int = 240) -> list[Any]:
    return [*train(Assignment(trial=trial, images=images, evaluations=evaluations, rungs=(images,), **told))]


@pytest.mark.slow
def test_a_trained_classifier_guides_the_samples_of_a_trial_wherever_they_are_drawn(tmp_path: Path) -> None:
    trial, told = of_shades(tmp_path)
    trained(trial, told)
    named = {"trial": trial.id, "images": 240}
    plain, guided = how(n=8, steps=8), how(n=8, steps=8, classifier=named, classifier_scale=4.0)
    reports = trained(denoiser(trial), told, plain, guided)
    without, within = (report for report in reports if isinstance(report, Scored))
    assert without.values["fd_efflite0_96"] != within.values["fd_efflite0_96"]
    assert [report.pictures for report in reports if isinstance(report, Rung)]
    images = open_images(told["data"], holdout=8)
    network, guide = build(denoiser(trial)), guide_of(guided, denoiser(trial), storage=str(tmp_path), device=CPU)
    assert guide is not None
    labels = torch.arange(8) % 2
    found = []
    for evaluation in (plain, guided):
        drawn = generate(network, denoiser(trial), evaluation, labels, guide=guide)
        chances = F.log_softmax(guide(to_unit(drawn), torch.full((8,), 0.95)), 1)
        found.append(float(chances[torch.arange(8), labels].mean()))
    assert found[1] > found[0]
    evaluator = Evaluator(denoiser(trial), {"raw": network.state_dict()}, images, cache=str(tmp_path))
    again = torch.cat(list(evaluator.samples(guided)))
    begun = method_of(denoiser(trial)).starts(denoiser(trial), images, guided)
    assert torch.equal(again, generate(network, denoiser(trial), guided, begun, guide=guide))


def test_what_cannot_guide_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    trial, told = of_shades(tmp_path)
    told["storage"] = str(tmp_path / "other")
    named = {"trial": trial.id, "images": 8}
    with pytest.raises(
        DataError, match=f"`classifier` must have a checkpoint at 8 images in the storage .*, got none of {trial.id}"
    ):
        trained(denoiser(trial), told, how(classifier=named))
    trained(trial, told, images=8)
    louder = denoiser(trial, diffusion={"noise_scale": 2.0})
    with pytest.raises(DataError, match="same images, classes and noise_scale, got noise_scale 1.0 for 2.0 of"):
        trained(louder, told, how(classifier=named))
    with pytest.raises(ValueError, match="`classifier` must be a trial of method classifier, got .*, a denoiser"):
        check_guide(denoiser(trial), denoiser(trial))
    other = trial.data.model_copy(update={"digest": "another"})
    with pytest.raises(ValueError, match="got images .* for another of"):
        check_guide(denoiser(trial.model_copy(update={"data": other})), trial)


def test_a_denoiser_spends_no_image_before_its_classifier_has_come_to_its_end(tmp_path: Path) -> None:
    trial, told = of_shades(tmp_path)
    trained(trial, told, images=8)
    guided, own = how(n=8, steps=2, classifier={"trial": trial.id, "images": 16}), denoiser(trial)
    with pytest.raises(DataError, match=f"checkpoint at 16 images in the storage .*, got 8 images of {trial.id}; train it"):
        trained(own, told, guided, images=8)
    assert Store(str(tmp_path)).latest(own.id, most_images=8) is None
    trained(trial, told, images=16)
    assert [type(report) for report in trained(own, told, guided, images=8)][-2:] == [Scored, Ended]


def test_a_classifier_guides_denoisers_alone() -> None:
    model = small_model(class_tokens=0, trunk={"kind": "autoencoder", "width": 32, "multipliers": (1, 2)})
    coder = small_trial(model, method={"kind": "autoencoder"})
    with pytest.raises(ValueError, match="`classifier` guides denoisers of pixels, got method=autoencoder"):
        check_evaluation(coder, how(classifier=NAMED), images=64)
    check_evaluation(small_trial(), how(classifier=NAMED), images=64)
    check_evaluation(classifier(), how(classifier=NAMED, t_eps_sample=0.0), images=64)


def test_guidance_of_more_channels_than_are_drawn_is_refused_and_of_some_counts_where_it_guides() -> None:
    channels = small_trial().canvas.channels
    check_evaluation(small_trial(), how(guidance_channels=channels), images=64)
    with pytest.raises(ValueError, match=f"`guidance_channels` must be at most .*, got {channels + 1} of {channels}; try null"):
        check_evaluation(small_trial(), how(guidance_channels=channels + 1), images=64)
    assert how(guidance_channels=2).id != how().id, "tuning may guide what the evaluation itself does not"
    with pytest.raises(ValueError, match="`guidance_channels` are of pixels or codes, got dimensions=64; try null"):
        check_evaluation(small_trial(diffusion={"dimensions": 64}), how(guidance_channels=1), images=64)
    for method in ("autoencoder", "masked_tokens"):
        assert "guidance_channels" in unread(method)
    model = small_model(class_tokens=0, trunk={"kind": "autoencoder", "width": 32, "multipliers": (1, 2)})
    check_evaluation(small_trial(model, method={"kind": "autoencoder"}), how(guidance_channels=channels + 1), images=64)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "`classifier_scale` other than 1 needs a `classifier`": ({}, {"classifier_scale": 2.0}, 5),
    "`t_eps_sample` must be above 0 under a `classifier`": ({}, {"classifier": NAMED, "t_eps_sample": 0.0}, 5),
    "`classifier` guides noisy images of several classes, .*num_classes=1": ({}, {"classifier": NAMED}, 1),
    "got num_classes=5, path=staged": ({"path": {"kind": "staged", "stages": 2}}, {"classifier": NAMED}, 5),
    "dimensions=64": ({"dimensions": 64}, {"classifier": NAMED}, 5),
}


@pytest.mark.parametrize(("message", "asked"), REFUSED.items(), ids=lambda value: str(value)[:40])
def test_guidance_that_means_nothing_is_refused(message: str, asked: tuple[dict[str, Any], dict[str, Any], int]) -> None:
    diffusion, evaluation, classes = asked
    with pytest.raises(ValueError, match=message):
        check_sampling(small_trial(diffusion=diffusion).diffusion, how(**evaluation), num_classes=classes)


def test_samples_are_never_drawn_without_the_classifier_that_they_need() -> None:
    trial, (z, _, y) = small_trial(), batch(2)
    with pytest.raises(ValueError, match="samples guided by a `classifier` need its weights, got none of 000000000000"):
        sample(moved(trial), z, y, diffusion=trial.diffusion, evaluation=how(classifier=NAMED), num_classes=5)
