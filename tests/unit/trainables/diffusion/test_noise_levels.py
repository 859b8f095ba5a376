"""The path of noise levels against EPG's formulas as they were typed anew (tests/golden/README.md), and EDM's sampler."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.paths import GOLDEN
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.path import KarrasPath
from trainables.diffusion.integrators import EULER, IN_SIGMA, level_grid, stage_steps
from trainables.diffusion.karras_grid import sigmas
from trainables.diffusion.loss import loss
from trainables.diffusion.noise_levels import level_weight, snapped
from trainables.diffusion.sampler import passes, sample
from trainables.diffusion.stages import path_stages

FILE = np.load(GOLDEN / "neighbours" / "epg.npz", allow_pickle=False)
META = json.loads(str(FILE["meta"]))
ARRAYS = {key: torch.from_numpy(FILE[key]) for key in FILE.files if FILE[key].dtype.kind in "fi"}
SHIFT = META["config"]["image_size"] / 64
PATH = KarrasPath(levels=META["levels"])
DIFFUSION = DiffusionConfig(path=PATH, noise_scale=SHIFT)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=1e-5 * float(theirs.abs().max()))


def drawn_times() -> Tensor:
    return 1 / (1 + ARRAYS["sigma_drawn"])


def test_a_time_trains_the_level_next_to_it_with_epg_s_noise_input_and_clock() -> None:
    stage = path_stages(PATH)[0]
    x, e, z, t = stage.example(ARRAYS["x"], SHIFT * ARRAYS["noise"], drawn_times())
    close((1 - t) / t, ARRAYS["sigma_unshifted"])
    close(z / t.view(-1, 1, 1, 1), ARRAYS["z"])
    seen = stage.seen(z, t, SHIFT)
    close(seen.z, ARRAYS["net_input"])
    close(seen.t, ARRAYS["time_input"])
    assert torch.equal(stage.truth(x, e, "x"), ARRAYS["x"])


def test_the_loss_is_epg_s_squared_error_of_x_by_the_distance_to_the_next_level() -> None:
    stage = path_stages(PATH)[0]
    example = stage.example(ARRAYS["x"], SHIFT * ARRAYS["noise"], drawn_times())
    torch.testing.assert_close(level_weight(example.t, PATH.levels), ARRAYS["weight"], rtol=1e-5, atol=0)
    losses = loss(ARRAYS["out"], *example, DIFFUSION, stage=stage)
    assert float(losses.mean()) == pytest.approx(float(ARRAYS["loss"]), rel=1e-5)
    perfect = loss(example.x, *example, DIFFUSION, stage=stage)
    assert not perfect.any()


def test_levels_are_edm_s_and_the_last_one_s_weight_goes_on_as_the_grid_does() -> None:
    levels = sigmas(40)
    assert [levels[0], levels[-1]] == pytest.approx([80, 0.002])
    roots = [sigma ** (1 / 7) for sigma in levels]
    steps = [a - b for a, b in pairwise(roots)]
    assert max(steps) == pytest.approx(min(steps))
    t = 1 / (1 + torch.tensor(levels, dtype=torch.float64))
    weights = level_weight(t, 40).tolist()
    beyond = (roots[-1] - steps[0]) ** 7
    exact = [1 / (a - b) for a, b in zip(levels, [*levels[1:], beyond], strict=True)]
    assert weights == pytest.approx(exact, rel=1e-3)


def test_what_is_drawn_beyond_the_grid_trains_its_ends_and_a_level_stays_where_it_is() -> None:
    t = torch.tensor([1e-6, 0.02, 0.3, 0.7, 0.9999, 1 - 2**-24], dtype=torch.float32)
    once = snapped(t, 1280)
    assert torch.equal(snapped(once, 1280), once)
    assert once[[0, -1]].tolist() == pytest.approx([1 / 81, 1 / 1.002])
    ratios = torch.log((1 - once) / once) - torch.log((1 - t) / t)
    assert ratios[1:4].abs().max() < 0.02
    assert ratios[2] != 0


class NormalData(nn.Module):
    """The best answer where the data are normal with deviation 1/2: E[x | z] = z / 4 / (sigma^2 + 1/4) of EDM's z; classes move
    it, the null class the other way."""

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        sigma = (t / 250).exp().view(-1, 1, 1, 1)
        best = z / 4 / (sigma.square() + 0.25).sqrt()
        return best + torch.where(y == CLASSES, -0.1, 0.1).view(-1, 1, 1, 1) * sigma / (1 + sigma)


def edm(noise: Tensor, *, steps: int, scale: float, heun: bool, guidance: float) -> Tensor:
    """Algorithm 1 of arXiv 2206.00364 without churn, in float64, guided for 0.19 < sigma < 1.61 before the scale."""

    def denoised(z: Tensor, sigma: float) -> Tensor:
        best, moved = z / 4 / (sigma**2 + 0.25), 0.1 * sigma / (1 + sigma)
        return best + moved * (2 * guidance - 1 if 0.19 < sigma / scale < 1.61 else 1)

    levels = [scale * sigma for sigma in sigmas(steps)] + [0.0]
    z = levels[0] * noise.double()
    for sigma, after in pairwise(levels):
        slope = (z - denoised(z, sigma)) / sigma
        reached = z + (after - sigma) * slope
        if heun and after > 0:
            slope = (slope + (reached - denoised(reached, after)) / after) / 2
        z = z + (after - sigma) * slope
    return z


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_samples_are_edm_s_whatever_clamp_is_set(sampler: str, steps: int, guidance: float) -> None:
    noise = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    interval = (1 / (1 + 1.61), 1 / (1 + 0.19))
    given = {"sampler": sampler, "steps": steps, "guidance": guidance, "interval": interval, "t_eps_sample": 0.3}
    evaluation = EvaluationConfig.model_validate(given)
    labels = torch.tensor([0, 1, 2])
    diffusion = DiffusionConfig(path=PATH, noise_scale=0.5)
    found = sample(NormalData(), 0.5 * noise, labels, diffusion=diffusion, evaluation=evaluation, num_classes=CLASSES)
    expected = edm(noise, steps=steps, scale=0.5, heun=sampler == "heun", guidance=guidance)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=5e-4)


def test_heun_is_exact_where_the_noise_is_linear_in_sigma() -> None:
    def velocity(z: float, t: float) -> float:
        sigma = (1 - t) / t
        noise = 2 + 3 * sigma  # z / t = 5 + 2 sigma + 1.5 sigma^2
        return (z - (1 - t) * noise) / t - noise

    def exact(t: float) -> float:
        sigma = (1 - t) / t
        return t * (5 + 2 * sigma + 1.5 * sigma**2)

    assert IN_SIGMA["heun"].step(velocity, exact(0.2), 0.2, 0.7) == pytest.approx(exact(0.7))
    assert EULER.step(velocity, exact(0.2), 0.2, 0.7) != pytest.approx(exact(0.7), rel=0.01)


def test_the_steps_end_in_euler_s_and_the_shift_multiplies_every_sigma() -> None:
    evaluation = EvaluationConfig(steps=5, sampler="heun")
    ((*first, last),) = stage_steps(evaluation, PATH)
    assert (last[0], last[2]) == (EULER, 1.0)
    assert {rule for rule, _, _ in first} == {IN_SIGMA["heun"]}
    assert passes(evaluation, PATH) == 9
    plain, shifted = (level_grid(evaluation.model_copy(update={"shift": shift}))[:-1] for shift in (1.0, 3.0))
    assert [(1 - t) / t for t in shifted] == pytest.approx([3 * (1 - t) / t for t in plain])


@pytest.mark.parametrize(
    ("diffusion", "told"),
    [
        ({"prediction": "v"}, "predicts x, .* got prediction=v"),
        ({"weighting": {"kind": "min_snr"}}, "a weighting of its own, .* weighting=min_snr"),
        ({"terms": [{"kind": "cosine"}]}, "takes `terms` under loss=x, got .* loss=v"),
    ],
)
def test_what_has_no_level_is_refused(diffusion: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DiffusionConfig.model_validate({"path": {"kind": "karras"}, **diffusion})


@pytest.mark.parametrize(
    ("model", "odd"),
    [
        ({"output_skip": "edm"}, "output_skip=edm"),
        ({"time_kind": "clock"}, "time_kind=clock"),
        ({"class_tokens": 0, "trunk": {"kind": "uvit", "width": 16}}, "trunk=uvit"),
    ],
)
def test_a_network_that_cannot_hear_the_noise_is_refused(model: dict[str, Any], odd: str) -> None:
    with pytest.raises(ValueError, match=f"tells the logarithm of its noise, .* got {odd}; leave that out"):
        small_trial(small_model(**model), diffusion={"path": {"kind": "karras"}})


def test_ids_know_the_levels_and_neither_loss_nor_clamp() -> None:
    def id_of(**diffusion: Any) -> str:
        return small_trial(diffusion={"path": {"kind": "karras"}, **diffusion}).id

    assert id_of() == id_of(loss="x", t_eps_train=0.2)
    assert id_of() != id_of(path={"kind": "karras", "levels": 40})
    assert id_of() != small_trial().id
    terms = [{"kind": "cosine"}]
    assert id_of(loss="x", terms=terms) != id_of(loss="x")


def test_the_clock_is_told_of_scaled_noise() -> None:
    stage, t = path_stages(PATH)[0], torch.tensor([0.25])
    z = torch.ones(1, 3, SIZE, SIZE)
    seen = stage.seen(z, t, 2.0)
    assert float(seen.t) == pytest.approx(250 * math.log(6))
    assert float(seen.z[0, 0, 0, 0]) == pytest.approx(4 / math.sqrt(36.25))
