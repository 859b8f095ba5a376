"""A loss term, a weighting, a distribution of t and an integrator are each one entry in one registry."""

import math
from typing import Literal, get_args

import pytest
import torch
from torch import Tensor, nn

from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig, Sampling
from trainables.config.fields import Frozen
from trainables.config.objective import AuxiliaryTerm, LossTermConfig, NoWeighting, WeightedTerm
from trainables.config.objective import Weighting as WeightingConfig
from trainables.config.times import TSampling
from trainables.diffusion.clamp import clamped_share
from trainables.diffusion.integrators import INTEGRATORS, Velocity, Z
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import noisy
from trainables.diffusion.sampler import passes, sample
from trainables.diffusion.t_sampling import T_SAMPLINGS, times
from trainables.diffusion.tapped import TAPPED
from trainables.diffusion.terms import TERMS
from trainables.diffusion.weighting import WEIGHTINGS
from trainables.networks.registry import AUXILIARIES
from trainables.training.truths import TRUTHS


class Linear(Frozen):
    """P(T < t) = t^2."""

    kind: Literal["linear"] = "linear"


class LinearTimes:
    def __init__(self, config: Linear) -> None:
        self.config = config

    def quantile(self, u: Tensor) -> Tensor:
        return u.sqrt()

    def share_above(self, t: float) -> float:
        return 1 - t**2


class Midpoint:
    """z + h v(z + h/2 v, t + h/2)."""

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        half = (after - t) / 2
        return z + (after - t) * velocity(z + half * velocity(z, t), t + half)

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t, (t + after) / 2)


class Line(nn.Module):
    """The velocity 3 t^2, whatever z is; counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.passes += 1
        return (3 * t**2).view(-1, 1, 1, 1).expand_as(z)


def absolute_error(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    return (ours - true).abs().flatten(1).mean(dim=1)


def by_time(losses: Tensor, t: Tensor, diffusion: DiffusionConfig) -> Tensor:
    return t * losses


def with_entries(term: str, weighting: str) -> DiffusionConfig:
    """A configuration that names a throw-away term, of weight 2, and a throw-away weighting."""
    terms = (WeightedTerm.model_construct(kind=term, weight=2.0),)
    chosen = NoWeighting.model_construct(kind=weighting)
    return DiffusionConfig(loss="x").model_copy(update={"terms": terms, "weighting": chosen})


def test_a_registered_term_and_weighting_enter_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "absolute_error", absolute_error)
    monkeypatch.setitem(WEIGHTINGS, "by_time", by_time)
    generator = torch.Generator().manual_seed(0)
    x, e, output = (torch.randn(4, 3, 2, 2, generator=generator) for _ in range(3))
    t = torch.tensor([0.1, 0.3, 0.6, 0.9])
    z, diffusion = noisy(x, e, t), DiffusionConfig(loss="x")
    plain = loss(output, x, e, z, t, diffusion)
    both = loss(output, x, e, z, t, with_entries("absolute_error", "by_time"))
    torch.testing.assert_close(both, t * plain + 2 * (output - x).abs().flatten(1).mean(1))


def test_a_registered_distribution_of_t_is_drawn_from_and_known_to_the_clamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(T_SAMPLINGS, "linear", LinearTimes)
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    t = times(u, Linear())  # type: ignore[arg-type]
    share = clamped_share(DiffusionConfig(t_eps_train=0.2).model_copy(update={"t_sampling": Linear()}))
    assert math.isclose(share, float((t > 0.8).double().mean()), abs_tol=1e-3)


def test_a_registered_integrator_is_stepped_by_and_its_passes_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INTEGRATORS, "midpoint", Midpoint())
    evaluation = EvaluationConfig(sampler="euler", steps=8).model_copy(update={"sampler": "midpoint"})
    network, z0 = Line(), torch.zeros(2, 1, 2, 2)
    labels, diffusion = torch.zeros(2, dtype=torch.int64), DiffusionConfig(prediction="v")
    end = sample(network, z0, labels, diffusion=diffusion, evaluation=evaluation, num_classes=1)
    exact_until_last, last = (7 / 8) ** 3, 3 * (7 / 8) ** 2 / 8
    midpoint_error = 7 * (1 / 8) ** 3 / 4
    torch.testing.assert_close(end, torch.full_like(z0, exact_until_last + last - midpoint_error))
    assert network.passes == passes(evaluation) == 15


def test_what_a_configuration_may_name_is_what_is_registered() -> None:
    assert set(get_args(Sampling.model_fields["sampler"].annotation)) == INTEGRATORS.keys()
    kinds, _ = get_args(TSampling)
    assert {config().kind for config in get_args(kinds)} == T_SAMPLINGS.keys()
    assert {config().kind for config in get_args(get_args(WeightingConfig)[0])} == WEIGHTINGS.keys()
    assert {*get_args(WeightedTerm.model_fields["kind"].annotation), "squared_error"} == TERMS.keys()
    tapped = {term for term in get_args(get_args(LossTermConfig)[0]) if term is not WeightedTerm}
    kinds = {kind for term in tapped for kind in get_args(term.model_fields["kind"].annotation)}
    assert kinds == TAPPED.keys()
    with_modules = {kind for term in get_args(AuxiliaryTerm) for kind in get_args(term.model_fields["kind"].annotation)}
    assert with_modules == {*kinds, "alignment", "perceptual"} == AUXILIARIES.keys() == TRUTHS.keys()
