"""Terms, weightings and distributions of t against official outputs and formulas in numbers (tests/golden/README.md)."""

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from tests.support.trials import small_trial
from trainables.config.diffusion import DiffusionConfig
from trainables.config.objective import MinSnrWeighting, SigmoidWeighting, WeightedTerm
from trainables.config.times import CosineTimes, InterpolatedCosine, LogitNormal, Mode, ShiftedCosine, TSampling
from trainables.config.trial import DataConfig
from trainables.diffusion.frequencies import dct_basis, frequency_weights
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import noisy
from trainables.diffusion.t_sampling import distribution_of
from trainables.diffusion.terms import TERMS, scales
from trainables.diffusion.weighting import WEIGHTINGS


def arrays(name: str) -> dict[str, Tensor]:
    file = np.load(GOLDEN / "neighbours" / f"{name}.npz", allow_pickle=False)
    return {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}


FORMULAS = arrays("schedules_and_weights")
META = json.loads(str(np.load(GOLDEN / "neighbours" / "schedules_and_weights.npz")["meta"]))


def term(kind: str, output: Tensor, given: dict[str, Tensor]) -> Tensor:
    return TERMS[kind](output, given["x"] - given["noise"], given["t"])


def test_the_frequency_term_is_deco_s() -> None:
    deco = arrays("deco")
    assert torch.allclose(dct_basis(), deco["dct"].float(), atol=1e-6)
    assert torch.allclose(frequency_weights(), deco["freq_w"].float().view(3, 8, 8), rtol=1e-5)
    assert float(term("frequency", deco["out"], deco).mean()) == pytest.approx(float(deco["term_fm_loss_freq"]), rel=1e-5)
    assert float(term("squared_error", deco["out"], deco).mean()) == pytest.approx(float(deco["term_fm_loss"]), rel=1e-5)


@pytest.mark.parametrize("variant", ["plain", "final", "all"])
def test_the_cosine_term_is_lightning_dit_s(variant: str) -> None:
    lightning = arrays("lightningdit")
    ours = term("cosine", lightning[f"{variant}/out"], lightning)
    assert ours.tolist() == pytest.approx(lightning[f"{variant}/cos"].tolist(), rel=1e-5)


def test_the_multiscale_term_is_the_sum_over_the_scales_of_the_paper() -> None:
    eps, eps_hat = FORMULAS["eps"], FORMULAS["eps_hat"]
    ours = TERMS["multiscale"](eps_hat, eps, torch.full((3,), 0.5))
    assert ours.tolist() == pytest.approx(FORMULAS["multiscale_sum"].tolist(), rel=1e-5)
    assert scales(32) == FORMULAS["scales"].tolist()


def test_weighted_terms_are_added_to_the_squared_error() -> None:
    deco = arrays("deco")
    diffusion = DiffusionConfig(prediction="v", loss="v", terms=(WeightedTerm(kind="frequency", weight=2.0),))
    x, noise, t = deco["x"], deco["noise"], deco["t"]
    both = loss(deco["out"], x, noise, noisy(x, noise, t), t, diffusion, t_eps=0.0)
    plain, added = (term(kind, deco["out"], deco) for kind in ("squared_error", "frequency"))
    torch.testing.assert_close(both, plain + 2 * added)


def weights(diffusion: DiffusionConfig, t: Tensor) -> Tensor:
    return WEIGHTINGS[diffusion.weighting.kind](torch.ones_like(t), t, diffusion)


def test_the_sigmoid_weighting_is_sid2_s_on_errors_of_x() -> None:
    t = FORMULAS["lam_flow_t"]
    plain = DiffusionConfig(weighting=SigmoidWeighting(bias=META["bias"]))
    torch.testing.assert_close(weights(plain, t), FORMULAS["sid2_weight_x"], rtol=1e-9, atol=0)
    torch.testing.assert_close(weights(plain, t) * (1 - t) ** 2, FORMULAS["sid2_weight_flow_v"], rtol=1e-9, atol=0)
    drawn = LogitNormal(**META["t_density"])
    divided = DiffusionConfig(weighting=SigmoidWeighting(bias=META["bias"], importance=True), t_sampling=drawn)
    expected = FORMULAS["sid2_weight_flow_v_importance"]
    torch.testing.assert_close(weights(divided, t) * (1 - t) ** 2, expected, rtol=1e-9, atol=0)


def test_min_snr_s_weighting_is_the_paper_s_on_errors_of_x_and_knows_the_scale_of_the_noise() -> None:
    t = FORMULAS["lam_flow_t"]
    plain = DiffusionConfig(weighting=MinSnrWeighting(gamma=5.0))
    torch.testing.assert_close(weights(plain, t), FORMULAS["min_snr_x"], rtol=1e-9, atol=0)
    louder = plain.model_copy(update={"noise_scale": 2.0})
    torch.testing.assert_close(weights(louder, t), ((t / (1 - t)) ** 2 / 4).clamp(max=5.0))


def test_a_weighting_takes_the_error_of_x_whatever_the_space_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    x, e, output = (torch.randn(3, 3, 4, 4, generator=generator) for _ in range(3))
    t = torch.tensor([0.2, 0.5, 0.8])
    by_space = [
        loss(output, x, e, noisy(x, e, t), t, DiffusionConfig(prediction="v", loss=space, weighting=MinSnrWeighting()))
        for space in ("x", "eps", "v")
    ]
    torch.testing.assert_close(by_space[0], by_space[1])
    torch.testing.assert_close(by_space[0], by_space[2])


@pytest.mark.parametrize("scale", [1.29, -0.8, 0.81])
def test_mode_sampling_is_sd3_s(scale: float) -> None:
    ours = distribution_of(Mode(scale=scale)).quantile(FORMULAS["sd3_t"])
    torch.testing.assert_close(ours, 1 - FORMULAS[f"sd3_mode_{scale:g}"], rtol=1e-9, atol=1e-12)


SHIFT = META["reference"] / META["d"]
SCHEDULES: list[tuple[TSampling, str]] = [
    (CosineTimes(), "logsnr_cosine"),
    (ShiftedCosine(shift=SHIFT), "logsnr_shifted"),
    (
        InterpolatedCosine(
            at_noise=META["interpolate"]["weight_u"] / META["d"], at_data=META["interpolate"]["weight_1_minus_u"] / META["d"]
        ),
        "logsnr_interpolated",
    ),
]


@pytest.mark.parametrize(("config", "log_snr"), SCHEDULES, ids=lambda value: value if isinstance(value, str) else "")
def test_log_snr_schedules_are_simple_diffusion_s(config: TSampling, log_snr: str) -> None:
    """There u = 1 is noise."""
    ours = distribution_of(config).quantile(1 - FORMULAS["u"])
    torch.testing.assert_close(2 * torch.logit(ours), FORMULAS[log_snr], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("config", [Mode(), Mode(scale=-0.8), *(config for config, _ in SCHEDULES)], ids=str)
def test_the_share_above_a_time_is_that_of_the_draws(config: TSampling) -> None:
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = distribution_of(config).quantile(u)
    assert (drawn.diff() > 0).all()
    for t in (0.1, 0.5, 0.95):
        assert math.isclose(distribution_of(config).share_above(t), float((drawn > t).double().mean()), abs_tol=1e-3)


def test_what_cannot_be_computed_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"importance.*got t_sampling=mode; try one of the two"):
        DiffusionConfig(weighting=SigmoidWeighting(importance=True), t_sampling=Mode())
    with pytest.raises(ValueError, match="each kind once"):
        DiffusionConfig(terms=(WeightedTerm(kind="cosine"), WeightedTerm(kind="cosine")))
    grey = DataConfig(digest="none", image_size=16, channels=1, num_classes=5)
    with pytest.raises(ValueError, match="frequency needs colour images of at least 8 pixels, got channels=1"):
        small_trial(data=grey, diffusion={"terms": [{"kind": "frequency"}]})
