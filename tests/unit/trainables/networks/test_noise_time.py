"""The adapters to code in which sigma = 1 is noise: identities of the weights, and SD3's own sampler driven through them."""

from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.support.trials import CLASSES, batch, jit, lively, small_model, small_trial
from trainables.config.diffusion import DiffusionConfig, Target
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.diffusion.sampler import sample
from trainables.networks.jit import JiT
from trainables.networks.noise_time import (
    NoiseTime,
    flow_from_v,
    reversed_time,
    t_from_timestep,
)

TARGETS: tuple[Target, ...] = get_args(Target)
Z, T, Y = batch()
T_EPS = 0.05
STEPS = 8

Flow = Callable[[Tensor, float], Tensor]


def trial_of(prediction: Target) -> TrialConfig:
    return small_trial(diffusion=DiffusionConfig(prediction=prediction))


def in_noise_time(network: JiT) -> JiT:
    """A network of the same trial with the adapted weights."""
    adapted = jit(network.trial).eval()
    state = reversed_time(network.state_dict(), trial=network.trial, frequencies=network.time.frequencies)
    adapted.load_state_dict(state)
    return adapted


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def sd3_images(flow: Flow, *, alpha: float) -> Tensor:
    """Euler's steps in sigma as SD3 takes them, from its noise at 1 down to 0."""
    sigmas = [alpha * s / (1 + (alpha - 1) * s) for s in torch.linspace(1, 0, STEPS + 1, dtype=torch.float64).tolist()]
    images = Z
    for sigma, sigma_next in pairwise(sigmas):
        images = images + (sigma_next - sigma) * flow(images, sigma)
    return images


def our_images(network: JiT, *, shift: float) -> Tensor:
    evaluation = EvaluationConfig(sampler="euler", steps=STEPS, shift=shift, t_eps_sample=T_EPS)
    return sample(network, Z, Y, diffusion=network.trial.diffusion, evaluation=evaluation, num_classes=CLASSES)


def test_noise_is_timestep_1000_and_the_clean_image_0() -> None:
    assert t_from_timestep(torch.tensor([1000.0, 750.0, 0.0])).tolist() == [0.0, 0.25, 1.0]


def test_the_flow_points_from_the_image_to_the_noise() -> None:
    x, e = Z, Z.flip(0)
    assert torch.equal(flow_from_v(x - e), e - x)


@torch.no_grad()
@pytest.mark.parametrize(("prediction", "sign"), [("x", 1.0), ("eps", 1.0), ("v", -1.0)])
def test_an_adapted_network_says_at_sigma_what_its_original_says_at_t(prediction: Target, sign: float) -> None:
    network = lively(trial_of(prediction))
    sigma = torch.tensor([0.0, 0.3, 0.8, 1.0])
    found, expected = in_noise_time(network)(Z, sigma, Y), sign * network(Z, 1 - sigma, Y)
    assert relative_error(found, expected) < 1e-5
    assert relative_error(network(Z, sigma, Y), expected) > 1e-3, "the network must depend on time"


def test_a_head_that_reads_pixels_is_adapted_at_its_last_map() -> None:
    model = small_model(head={"kind": "neural_field", "width": 8})
    network = lively(small_trial(model, diffusion={"prediction": "v"}))
    sigma = torch.tensor([0.0, 0.3, 0.8, 1.0])
    assert relative_error(in_noise_time(network)(Z, sigma, Y), -network(Z, 1 - sigma, Y)) < 1e-5


@pytest.mark.parametrize("prediction", TARGETS)
def test_adapting_twice_gives_the_weights_back(prediction: Target) -> None:
    network = lively(trial_of(prediction))
    original, twice = network.state_dict(), in_noise_time(in_noise_time(network)).state_dict()
    assert original.keys() == twice.keys()
    for name, tensor in original.items():
        torch.testing.assert_close(twice[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("skip", ["edm", "linear"])
def test_weights_under_an_output_skip_are_refused(skip: str) -> None:
    network = jit(small_trial(small_model(output_skip=skip)))
    with pytest.raises(ValueError, match=f"`output_skip` must be none .* got {skip}; try NoiseTime"):
        in_noise_time(network)


def test_weights_without_a_time_embedding_are_refused() -> None:
    network = jit(small_trial())
    state = {name: tensor for name, tensor in network.state_dict().items() if name != "time.first.weight"}
    with pytest.raises(ValueError, match="missing .*time.first.weight"):
        reversed_time(state, trial=network.trial, frequencies=network.time.frequencies)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 3.0, 0.4])
@pytest.mark.parametrize("prediction", TARGETS)
def test_sd3s_euler_sampler_draws_our_images_through_the_wrapper(prediction: Target, alpha: float) -> None:
    network = lively(trial_of(prediction))
    wrapped = NoiseTime(network, t_eps=T_EPS)
    found = sd3_images(lambda z, sigma: wrapped(z, 1000 * sigma, Y), alpha=alpha)
    assert relative_error(found, our_images(network, shift=alpha)) < 1e-5


@pytest.mark.parametrize("skip", ["edm", "linear"])
def test_the_wrapper_knows_an_output_skip(skip: str) -> None:
    network = lively(small_trial(small_model(output_skip=skip)))
    wrapped = NoiseTime(network, t_eps=T_EPS)
    found = sd3_images(lambda z, sigma: wrapped(z, 1000 * sigma, Y), alpha=1.0)
    assert relative_error(found, our_images(network, shift=1.0)) < 1e-5


@pytest.mark.slow
def test_sd3s_euler_sampler_draws_our_images_from_adapted_weights() -> None:
    network = lively(trial_of("v"))
    adapted = in_noise_time(network)
    found = sd3_images(lambda z, sigma: adapted(z, torch.full((len(z),), sigma), Y), alpha=3.0)
    assert relative_error(found, our_images(network, shift=3.0)) < 1e-5


@torch.no_grad()
def test_a_timestep_may_be_a_number_a_scalar_or_one_for_each_image() -> None:
    wrapped = NoiseTime(lively(trial_of("x")), t_eps=T_EPS)
    expected = wrapped(Z, torch.full((len(Z),), 250.0), Y)
    for timestep in (250, 250.0, torch.tensor(250), torch.tensor([250.0])):
        assert torch.equal(wrapped(Z, timestep, Y), expected)


@torch.no_grad()
def test_the_wrappers_clamp_divides_the_error_near_the_clean_image() -> None:
    network = lively(trial_of("x"))
    wide, narrow = (NoiseTime(network, t_eps=t_eps)(Z, 10.0, Y) for t_eps in (0.1, 0.05))
    torch.testing.assert_close(narrow, 2 * wide)


def test_an_unclamped_eps_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="`t_eps` must be above 0 .* got 0"):
        NoiseTime(jit(trial_of("eps")), t_eps=0.0)
