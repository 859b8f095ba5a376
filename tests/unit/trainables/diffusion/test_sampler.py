"""The sampler against closed forms, against a plain two-pass version, and the passes it saves."""

import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from jit_sweep.spec.read import read_spec
from tests.support.trials import CLASSES, batch, lively, small_model, small_trial
from trainables.config.diffusion import DiffusionConfig, Target
from trainables.config.evaluation import EvaluationConfig
from trainables.diffusion.clamp import clamp_bias
from trainables.diffusion.integrators import time_grid
from trainables.diffusion.maths import convert, target_of
from trainables.diffusion.sampler import guidance_at, sample
from trainables.networks.jit import JiT

Z0 = batch()[0]
LABELS = torch.tensor([0, 1, 2, 4])


class Constant(nn.Module):
    """o = a + b t, the same for every image: a field whose trajectories are known."""

    def __init__(self, a: float, b: float = 0.0) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return (self.a + self.b * t.view(-1, 1, 1, 1)).expand_as(z)


class PureNoise(nn.Module):
    """A perfect eps-prediction at t = 0: the noise is the input."""

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return z


class StandardNormalData(nn.Module):
    """The best prediction where the data are standard normals themselves: E[x | z] = t z / (t^2 + (1 - t)^2)."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target: Target = target

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = (t / (t**2 + (1 - t) ** 2)).view(-1, 1, 1, 1) * z
        return convert(x, z, t, source="x", target=self.target, t_eps=0)


def settings(**changes: object) -> EvaluationConfig:
    return EvaluationConfig.model_validate({"sampler": "euler", "steps": 7, **changes})


def run(network: nn.Module, evaluation: EvaluationConfig, *, prediction: Target = "x", z0: Tensor = Z0) -> Tensor:
    diffusion = DiffusionConfig(prediction=prediction)
    return sample(network, z0, LABELS, diffusion=diffusion, evaluation=evaluation, num_classes=CLASSES)


def plain(network: nn.Module, evaluation: EvaluationConfig) -> Tensor:
    """Two passes at every evaluation, every formula written out as the official sampler has it, for x-prediction."""

    def velocity(z: Tensor, t: float) -> Tensor:
        times = torch.full((len(z),), t)
        d = max(1 - t, evaluation.t_eps_sample)
        conditional = (network(z, times, LABELS) - z) / d
        unconditional = (network(z, times, torch.full_like(LABELS, CLASSES)) - z) / d
        low, high = evaluation.interval
        scale = evaluation.guidance if t < high and (low == 0 or t > low) else 1.0
        guided: Tensor = unconditional + scale * (conditional - unconditional)
        return guided

    spaced = [i / evaluation.steps for i in range(evaluation.steps + 1)]
    z, grid = Z0, [s / (s + (1 - s) * evaluation.shift) for s in spaced]
    with torch.no_grad():
        for t, after in pairwise(grid):
            first = velocity(z, t)
            if evaluation.sampler == "heun" and after < 1:
                first = 0.5 * (first + velocity(z + (after - t) * first, after))
            z = z + (after - t) * first
    return z


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 7, 20])
def test_a_point_of_data_is_reached_exactly_where_the_clamp_never_acts(sampler: str, steps: int) -> None:
    samples = run(Constant(0.3), settings(sampler=sampler, steps=steps))
    torch.testing.assert_close(samples, torch.full_like(Z0, 0.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "sampler", "left"),
    [(50, "heun", 0.0171), (50, "euler", 0.0144), (100, "heun", 0.0181), (100, "euler", 0.0164), (25, "euler", 0.0080)],
)
def test_the_sampling_clamp_leaves_its_known_share_of_noise_and_none_when_off(steps: int, sampler: str, left: float) -> None:
    target = torch.full_like(Z0, 0.3)
    clamped = run(Constant(0.3), settings(sampler=sampler, steps=steps))
    torch.testing.assert_close(clamped - target, left * (Z0 - target), rtol=0.01, atol=1e-5)
    free = run(Constant(0.3), settings(sampler=sampler, steps=steps, t_eps_sample=0.0))
    torch.testing.assert_close(free, target, rtol=0, atol=1e-4)


def test_heun_is_exact_when_velocity_is_linear_in_t_but_for_the_last_euler_step() -> None:
    a, b, h = 0.4, -1.5, 1 / 7
    euler = run(Constant(a, b), settings(), prediction="v")
    torch.testing.assert_close(euler, Z0 + a + b * (1 - h) / 2)
    heun = run(Constant(a, b), settings(sampler="heun"), prediction="v")
    torch.testing.assert_close(heun, Z0 + a + b * (1 - h**2) / 2)


def test_x_and_v_predictions_of_one_field_sample_alike_and_eps_but_for_its_still_first_step() -> None:
    at = {target: run(StandardNormalData(target), settings(), prediction=target) for target in get_args(Target)}
    torch.testing.assert_close(at["v"], at["x"])
    torch.testing.assert_close(at["eps"] * (1 - 1 / 7), at["x"])


def test_the_first_step_of_a_perfect_eps_prediction_stands_still() -> None:
    assert torch.equal(run(PureNoise(), settings(steps=1), prediction="eps"), Z0)


def test_the_first_step_of_a_wrong_eps_prediction_is_its_error_over_the_clamp() -> None:
    samples = run(Constant(0.2), settings(steps=1, t_eps_sample=0.1), prediction="eps")
    torch.testing.assert_close(samples, Z0 + (Z0 - 0.2) / 0.1)


@pytest.fixture(scope="module")
def network() -> JiT:
    return lively(small_trial())


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize(
    ("guidance", "interval"), [(1.0, (0.1, 1.0)), (2.5, (0.0, 1.0)), (2.5, (0.1, 0.8)), (0.0, (0.0, 1.0)), (3.0, (0.3, 1.0))]
)
def test_the_batched_sampler_equals_the_plain_two_pass_one(
    network: JiT, sampler: str, guidance: float, interval: tuple[float, float]
) -> None:
    evaluation = settings(sampler=sampler, guidance=guidance, interval=interval)
    expected = plain(network, evaluation)
    error = (run(network, evaluation) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("shift", [0.4, 3.0])
def test_few_and_shifted_steps_equal_the_plain_version(network: JiT, sampler: str, steps: int, shift: float) -> None:
    evaluation = settings(sampler=sampler, steps=steps, shift=shift, guidance=2.5, interval=(0.1, 0.6))
    expected = plain(network, evaluation)
    error = (run(network, evaluation) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 1000])
def test_a_shift_of_1_leaves_the_steps_equal_to_the_last_bit(steps: int) -> None:
    assert time_grid(settings(steps=steps)) == [i / steps for i in range(steps + 1)]


@pytest.mark.parametrize("steps", [1, 2, 5, 250])
@pytest.mark.parametrize("shift", [1e-2, 0.3, 1.0, 3.0, 100.0])
def test_shifted_times_rise_from_exactly_0_to_exactly_1(steps: int, shift: float) -> None:
    grid = time_grid(settings(steps=steps, shift=shift))
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (0.0, 1.0)
    assert all(t < after for t, after in pairwise(grid))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_shift_is_the_alpha_of_sd3_in_sigma_and_minus_its_logarithm_in_the_logit_of_t(alpha: float) -> None:
    spaced = torch.arange(1, 10, dtype=torch.float64) / 10
    sigma = 1 - spaced
    found = torch.tensor(time_grid(settings(steps=10, shift=alpha))[1:-1], dtype=torch.float64)
    torch.testing.assert_close(1 - found, alpha * sigma / (1 + (alpha - 1) * sigma))
    torch.testing.assert_close(found.logit(), spaced.logit() - math.log(alpha))


def test_a_shift_above_1_takes_more_of_its_steps_near_the_noise() -> None:
    assert time_grid(settings(steps=4, shift=3.0)) == pytest.approx([0, 1 / 10, 1 / 4, 1 / 2, 1])


def test_the_shift_changes_the_images(network: JiT) -> None:
    plain_steps, shifted = run(network, settings()), run(network, settings(shift=3.0))
    assert (plain_steps - shifted).abs().max() > 1e-3


def rows_of_each_pass(network: JiT, evaluation: EvaluationConfig) -> list[int]:
    rows: list[int] = []
    handle = network.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    run(network, evaluation)
    handle.remove()
    return rows


def test_both_halves_go_in_one_pass_and_the_unconditional_one_only_where_guidance_acts(network: JiT) -> None:
    assert rows_of_each_pass(network, settings(steps=5, guidance=2.0, interval=(0.1, 0.7))) == [4, 8, 8, 8, 4]
    assert rows_of_each_pass(network, settings(steps=5, guidance=1.0)) == [4, 4, 4, 4, 4]


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (2, 3), (5, 9)])
def test_heun_evaluates_twice_a_step_but_once_in_the_last(network: JiT, steps: int, passes: int) -> None:
    assert len(rows_of_each_pass(network, settings(steps=steps, sampler="heun"))) == passes


@pytest.mark.parametrize(
    ("t", "interval", "scale"),
    [
        (0.0, (0.0, 1.0), 2.0),
        (0.0, (0.1, 1.0), 1.0),
        (0.1, (0.1, 1.0), 1.0),
        (0.11, (0.1, 1.0), 2.0),
        (0.8, (0.1, 0.8), 1.0),
        (1.0, (0.1, 1.0), 1.0),
    ],
)
def test_guidance_acts_strictly_inside_its_interval_and_from_the_start_where_that_is_0(
    t: float, interval: tuple[float, float], scale: float
) -> None:
    assert guidance_at(t, settings(guidance=2.0, interval=interval)) == scale


def test_sampling_is_without_dropout_and_leaves_the_network_in_its_mode() -> None:
    network = lively(small_trial(small_model(dropout=0.5))).train()
    assert torch.equal(run(network, settings()), run(network, settings()))
    assert network.training


@pytest.mark.parametrize(("label", "got"), [(-1, r"-1\.\.0"), (CLASSES, r"0\.\.5")])
def test_a_label_out_of_range_is_refused(network: JiT, label: int, got: str) -> None:
    labels = torch.tensor([0, label])
    with pytest.raises(ValueError, match=rf"`labels` must be in 0\.\.4, got {got}"):
        sample(network, Z0[:2], labels, diffusion=DiffusionConfig(), evaluation=settings(), num_classes=CLASSES)


def unconditional(network: nn.Module, evaluation: EvaluationConfig) -> Tensor:
    labels = torch.zeros(len(Z0), dtype=torch.int64)
    return sample(network, Z0, labels, diffusion=DiffusionConfig(), evaluation=evaluation, num_classes=1)


def test_an_unconditional_model_samples_under_its_only_label() -> None:
    torch.testing.assert_close(unconditional(Constant(0.3), settings()), torch.full_like(Z0, 0.3))


def test_guidance_of_an_unconditional_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`guidance` must be 1 .* got guidance=2, num_classes=1; try"):
        unconditional(Constant(0.0), settings(guidance=2.0))


def test_guidance_by_a_null_label_that_was_never_dropped_in_is_refused(network: JiT) -> None:
    untrained = DiffusionConfig(label_drop=0.0)
    with pytest.raises(ValueError, match="`guidance` other than 1 needs the null label, .* got guidance=4, label_drop=0; try"):
        sample(network, Z0, torch.zeros(len(Z0)).long(), diffusion=untrained, evaluation=settings(guidance=4.0), num_classes=5)


def test_an_unclamped_eps_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="`t_eps_sample` must be above 0"):
        run(PureNoise(), settings(t_eps_sample=0.0), prediction="eps")


class Exact(nn.Module):
    """The exact outputs for data of N(0, 0.5^2) in one space."""

    def __init__(self, space: Target, *, noise_scale: float) -> None:
        super().__init__()
        self.space, self.noise_scale = space, noise_scale

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        t = t.view(-1, 1, 1, 1)
        variance = (t * 0.5).square() + ((1 - t) * self.noise_scale).square()
        x, e = t * 0.25 / variance * z, (1 - t) * self.noise_scale**2 / variance * z
        return target_of(x, e, self.space)


@pytest.mark.parametrize("noise_scale", [1.0, 2.0])
@pytest.mark.parametrize(
    ("prediction", "t_eps", "bias"), [("x", 0.05, -0.02), ("x", 0.0, 0.0), ("eps", 0.05, 0.03), ("v", 0.05, 0.0)]
)
def test_the_bias_of_the_sampling_clamp_is_that_of_an_exact_networks_samples(
    prediction: Target, t_eps: float, bias: float, noise_scale: float
) -> None:
    how, z0 = settings(sampler="heun", steps=50, t_eps_sample=t_eps), noise_scale * Z0

    def ends(space: Target) -> Tensor:
        diffusion = DiffusionConfig(prediction=space, noise_scale=noise_scale)
        labels = torch.zeros(len(z0)).long()
        return sample(Exact(space, noise_scale=noise_scale), z0, labels, diffusion=diffusion, evaluation=how, num_classes=5)

    found = clamp_bias(DiffusionConfig(prediction=prediction, noise_scale=noise_scale), how)
    assert found == pytest.approx(float(ends(prediction).std() / ends("v").std()) - 1, abs=1e-4)
    assert found == pytest.approx(bias, abs=0.01)


def test_the_quickstarts_steps_never_meet_the_clamp(network: JiT) -> None:
    def drawn(t_eps: float) -> Tensor:
        how = read_spec("quickstart").evaluation.resolved(t_eps_sample=t_eps, weights="raw")
        return sample(network, Z0, LABELS, diffusion=DiffusionConfig(), evaluation=how, num_classes=CLASSES)

    assert drawn(0.05).equal(drawn(0.0))
