"""The diffusion maths against its closed forms, in all nine cells of prediction and loss."""

import math
from itertools import product
from statistics import NormalDist
from typing import get_args

import pytest
import torch
from torch import Tensor

from trainables.config.diffusion import DiffusionConfig, Target
from trainables.config.times import LogitNormal, TSampling, Uniform
from trainables.diffusion.clamp import clamped_share
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import convert, noisy, target_of
from trainables.diffusion.t_sampling import times

SPACES: tuple[Target, ...] = get_args(Target)
CELLS = list(product(SPACES, SPACES))
PAIRS = [(a, b) for a, b in CELLS if a != b]
EPS = 0.05
T = torch.tensor([0.0, 0.01, 0.04, 0.05, 0.3, 0.7, 0.95, 0.97, 0.999, 1.0], dtype=torch.float64)
UNCLAMPED = T[(T >= EPS) & (1 - T >= EPS)]


def drawn(t: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, e, z and a wrong output o, each [len(t), 3, 2, 2], in double precision."""
    generator = torch.Generator().manual_seed(seed)
    x, e, o = (torch.randn(len(t), 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    return x, e, noisy(x, e, t), o


def there_and_back(o: Tensor, z: Tensor, t: Tensor, *, source: Target, via: Target) -> Tensor:
    between = convert(o, z, t, source=source, target=via, t_eps=EPS)
    return convert(between, z, t, source=via, target=source, t_eps=EPS)


def per_image(t: Tensor) -> Tensor:
    return t.view(-1, 1, 1, 1)


@pytest.mark.parametrize(("prediction", "space"), CELLS)
@pytest.mark.parametrize("t_eps", [EPS, 0.3])
def test_a_perfect_output_has_zero_loss_at_every_t(prediction: Target, space: Target, t_eps: float) -> None:
    x, e, z, _ = drawn(T)
    diffusion = DiffusionConfig(prediction=prediction, loss=space, t_eps_train=t_eps)
    perfect = loss(target_of(x, e, prediction), x, e, z, T, diffusion)
    assert torch.equal(perfect, torch.zeros_like(T))


def test_x_prediction_with_v_loss_is_the_official_loss() -> None:
    x, e, z, o = drawn(T)
    d = per_image((1 - T).clamp(min=EPS))
    official = ((x - z) / d - (o - z) / d).square().mean()
    torch.testing.assert_close(loss(o, x, e, z, T, DiffusionConfig()).mean(), official)


def test_v_prediction_with_v_loss_regresses_x_minus_e_even_where_the_clamp_acts() -> None:
    x, e, z, o = drawn(T)
    plain = (o - (x - e)).square().flatten(1).mean(1)
    torch.testing.assert_close(loss(o, x, e, z, T, DiffusionConfig(prediction="v", loss="v")), plain)


@pytest.mark.parametrize(("prediction", "space"), CELLS)
def test_the_loss_weighs_the_networks_own_error_by_the_papers_table_with_clamped_denominators(
    prediction: Target, space: Target
) -> None:
    d, c = (1 - T).clamp(min=EPS), T.clamp(min=EPS)
    table = {
        ("x", "eps"): (T / d) ** 2,
        ("x", "v"): 1 / d**2,
        ("eps", "x"): ((1 - T) / c) ** 2,
        ("eps", "v"): 1 / c**2,
        ("v", "x"): (1 - T) ** 2,
        ("v", "eps"): T**2,
    }
    x, e, z, o = drawn(T)
    own = (o - target_of(x, e, prediction)).square().flatten(1).mean(1)
    weighed = table.get((prediction, space), torch.ones_like(T)) * own
    torch.testing.assert_close(loss(o, x, e, z, T, DiffusionConfig(prediction=prediction, loss=space)), weighed)


@pytest.mark.parametrize(("source", "target"), CELLS)
def test_the_truth_in_one_space_converts_to_the_truth_in_another_where_no_clamp_acts(source: Target, target: Target) -> None:
    x, e, z, _ = drawn(UNCLAMPED)
    converted = convert(target_of(x, e, source), z, UNCLAMPED, source=source, target=target, t_eps=EPS)
    torch.testing.assert_close(converted, target_of(x, e, target))


@pytest.mark.parametrize(("source", "via"), PAIRS)
def test_conversions_are_inverse_where_no_clamp_acts(source: Target, via: Target) -> None:
    _, _, z, o = drawn(UNCLAMPED)
    torch.testing.assert_close(there_and_back(o, z, UNCLAMPED, source=source, via=via), o)


@pytest.mark.parametrize(("source", "via"), PAIRS)
def test_near_t_1_the_way_back_differs_by_the_closed_form(source: Target, via: Target) -> None:
    t = torch.tensor([0.951, 0.97, 0.99], dtype=torch.float64)
    _, _, z, o = drawn(t)
    kept = per_image((1 - t) / EPS)
    missing = {
        ("x", "v"): (1 - kept) * (z - o),
        ("x", "eps"): (1 - kept) * (z / per_image(t) - o),
        ("eps", "x"): (1 - kept) * -o,
        ("eps", "v"): torch.zeros_like(o),
        ("v", "x"): (1 - kept) * -o,
        ("v", "eps"): torch.zeros_like(o),
    }
    torch.testing.assert_close(there_and_back(o, z, t, source=source, via=via) - o, missing[source, via])


@pytest.mark.parametrize(("source", "via"), PAIRS)
def test_near_t_0_the_way_back_differs_by_the_closed_form(source: Target, via: Target) -> None:
    t = torch.tensor([0.0, 0.01, 0.04], dtype=torch.float64)
    _, _, z, o = drawn(t)
    kept = per_image(t / EPS)
    missing = {
        ("x", "v"): torch.zeros_like(o),
        ("x", "eps"): (1 - kept) * -o,
        ("eps", "x"): (1 - kept) * (z / per_image(1 - t) - o),
        ("eps", "v"): (1 - kept) * (z - o),
        ("v", "x"): torch.zeros_like(o),
        ("v", "eps"): (1 - kept) * -o,
    }
    torch.testing.assert_close(there_and_back(o, z, t, source=source, via=via) - o, missing[source, via])


def test_a_perfect_eps_prediction_says_v_is_zero_at_t_0_where_the_true_v_is_not() -> None:
    x, e, z, _ = drawn(torch.zeros(4, dtype=torch.float64))
    said = convert(e, z, torch.zeros(4, dtype=torch.float64), source="eps", target="v", t_eps=EPS)
    assert torch.equal(said, torch.zeros_like(x))
    assert target_of(x, e, "v").abs().max() > 1


def test_a_clamp_of_zero_divides_by_the_times_themselves() -> None:
    t = torch.tensor([1e-6, 1 - 1e-6], dtype=torch.float64)
    _, _, z, o = drawn(t)
    torch.testing.assert_close(convert(o, z, t, source="x", target="v", t_eps=0), (o - z) / per_image(1 - t))
    torch.testing.assert_close(convert(o, z, t, source="eps", target="v", t_eps=0), (z - o) / per_image(t))


def test_the_clamp_changes_the_loss_of_a_wrong_output_only_where_it_acts() -> None:
    x, e, z, o = drawn(T)
    wide, narrow = (loss(o, x, e, z, T, DiffusionConfig(t_eps_train=t_eps)) for t_eps in (0.2, 0.05))
    assert torch.equal(wide != narrow, 1 - T < 0.2)


def test_noise_reaches_from_pure_noise_to_the_clean_image() -> None:
    x, e, _, _ = drawn(T)
    z = noisy(x, e, T)
    assert torch.equal(z[0], e[0])
    assert torch.equal(z[-1], x[-1])


@pytest.mark.parametrize("sampling", [LogitNormal(), LogitNormal(mu=0.4, sigma=1.3)])
def test_logit_normal_times_are_the_quantiles_of_their_distribution(sampling: LogitNormal) -> None:
    u = torch.linspace(0.01, 0.99, 25, dtype=torch.float64)
    logits = torch.tensor([NormalDist(sampling.mu, sampling.sigma).inv_cdf(float(p)) for p in u], dtype=torch.float64)
    torch.testing.assert_close(times(u, sampling), torch.sigmoid(logits).float())


def test_uniform_times_are_the_uniforms() -> None:
    u = torch.linspace(0.01, 0.99, 25, dtype=torch.float64)
    assert torch.equal(times(u, Uniform()), u.float())


@pytest.mark.parametrize("sampling", [LogitNormal(), LogitNormal(sigma=5.0), Uniform()])
def test_times_stay_inside_the_open_interval_in_float32(sampling: TSampling) -> None:
    t = times(torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64), sampling)
    assert t.dtype == torch.float32
    assert t.min() > 0
    assert t.max() < 1


@pytest.mark.parametrize(
    ("sampling", "share"),
    [(LogitNormal(), 1.4e-6), (LogitNormal(mu=0.0), 1.2e-4), (LogitNormal(mu=0.0, sigma=1.0), 1.6e-3), (Uniform(), 5e-2)],
)
def test_the_clamped_share_is_the_known_one(sampling: TSampling, share: float) -> None:
    assert clamped_share(DiffusionConfig(t_sampling=sampling, t_eps_train=0.05)) == pytest.approx(share, rel=0.05)
    assert clamped_share(DiffusionConfig(t_sampling=sampling, t_eps_train=0.0)) == 0


def test_an_eps_prediction_is_clamped_close_to_noise_and_a_v_prediction_never() -> None:
    assert clamped_share(DiffusionConfig(prediction="eps")) == pytest.approx(0.0037, rel=0.02)
    assert clamped_share(DiffusionConfig(prediction="v")) == clamped_share(DiffusionConfig(prediction="x", loss="x")) == 0


@pytest.mark.parametrize("sampling", [LogitNormal(mu=0.5, sigma=1.1), Uniform()])
@pytest.mark.parametrize("t_eps", [0.02, 0.2, 0.6])
def test_the_clamped_share_is_that_of_the_drawn_times(sampling: TSampling, t_eps: float) -> None:
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn_share = (1 - times(u, sampling) < t_eps).double().mean()
    assert math.isclose(
        clamped_share(DiffusionConfig(t_sampling=sampling, t_eps_train=t_eps)), float(drawn_share), abs_tol=2e-4
    )
