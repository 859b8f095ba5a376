"""What `plan` says of density times weight is what the loss does."""

from itertools import product

import pytest
import torch

from trainables.config.diffusion import DiffusionConfig
from trainables.config.objective import MinSnrWeighting, SigmoidWeighting
from trainables.config.times import CosineTimes, LogitNormal, Mode, ShiftedCosine, Uniform
from trainables.diffusion.emphasis import apart, emphasis, weight
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import noisy, target_of
from trainables.diffusion.t_sampling import distribution_of

WEIGHTINGS: tuple[dict[str, object], ...] = (
    {},
    {"weighting": SigmoidWeighting(bias=-2.0)},
    {"weighting": SigmoidWeighting(importance=True)},
    {"weighting": SigmoidWeighting(importance=True), "t_sampling": Uniform()},
    {"weighting": MinSnrWeighting(gamma=2.0)},
)


@pytest.mark.parametrize("changes", WEIGHTINGS)
@pytest.mark.parametrize(("prediction", "space"), [*product(("x", "eps", "v"), repeat=2)])
def test_the_weight_is_the_loss_of_an_output_that_is_off_by_one(
    prediction: str, space: str, changes: dict[str, object]
) -> None:
    diffusion = DiffusionConfig.model_validate({"prediction": prediction, "loss": space, "noise_scale": 2.0, **changes})
    t = torch.tensor([0.01, 0.2, 0.5, 0.8, 0.97], dtype=torch.float64)
    x, e = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = loss(target_of(x, e, diffusion.prediction) + 1, x, e, noisy(x, e, t), t, diffusion)
    assert [weight(float(each), diffusion) for each in t] == pytest.approx(losses.tolist(), rel=1e-9)


@pytest.mark.parametrize("drawn", [LogitNormal(), Uniform(), Mode(), CosineTimes(), ShiftedCosine()])
def test_the_emphasis_of_an_unweighted_loss_is_the_density_of_t(drawn: LogitNormal) -> None:
    diffusion = DiffusionConfig(prediction="v", loss="v", t_sampling=drawn)
    shares = emphasis(diffusion)
    assert sum(shares) == pytest.approx(1)
    below = sum(shares[:120])  # logit(t) < 0
    assert below == pytest.approx(1 - distribution_of(drawn).share_above(0.5), abs=1e-4)


def test_emphases_that_share_no_time_are_wholly_apart() -> None:
    far = [emphasis(DiffusionConfig(t_sampling=LogitNormal(mu=mu, sigma=0.1))) for mu in (-4.0, 4.0)]
    assert apart(*far) == pytest.approx(1)
    assert apart(far[0], far[0]) == 0
