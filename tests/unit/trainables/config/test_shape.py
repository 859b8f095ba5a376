"""The rule of a shape: which settings of a trial ask for another step, and which for another speed."""

import pytest
import torch

from tests.support.trial_settings import OTHERS, base_trial, changed, settings
from trainables.config.shape import lane_shape, measured_as, speed_shape, step_shape
from trainables.config.trial import TrialConfig
from trainables.training.batches import Batch
from trainables.training.step import EagerStep

ANY_STEP = {
    "diffusion.t_sampling",
    "diffusion.t_eps_train",
    "diffusion.noise_scale",
    "diffusion.label_drop",
    "optimiser",
    "ema",
    "batch_size",
    "compile",
    "graphs",
    "gradient_sum",
    "parent",
    "data.digest",
    "data.flip",
    "seed",
}
SAME_SPEED = (ANY_STEP - {"batch_size", "compile", "graphs"}) | {
    "diffusion.prediction",
    "diffusion.loss",
    "diffusion.terms",
    "diffusion.weighting",
}


def test_every_setting_of_a_trial_has_another_value_to_try() -> None:
    assert settings(base_trial()) == OTHERS.keys()
    assert all(changed(name) != base_trial(name) for name in OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_each_setting_asks_for_another_step_or_speed_as_listed(name: str) -> None:
    assert (step_shape(changed(name)) == step_shape(base_trial(name))) == (name in ANY_STEP)
    assert (speed_shape(changed(name)) == speed_shape(base_trial(name))) == (name in SAME_SPEED)


def test_a_lane_keeps_nothing_of_an_eager_trial() -> None:
    assert lane_shape(base_trial()) == step_shape(base_trial())
    assert lane_shape(changed("compile")) == ""


@pytest.mark.parametrize("name", ["diffusion.prediction", "diffusion.loss"])
def test_a_compiled_trial_is_measured_for_each_step_and_an_eager_one_for_each_speed(name: str) -> None:
    compiled, eager = (
        {measured_as(trial, workers=1, compiled=compiled) for trial in (base_trial(), changed(name))}
        for compiled in (True, False)
    )
    assert (len(compiled), len(eager)) == (2, 1)


NOT_MEASURED = {"optimiser", "ema", "batch_size", "compile", "graphs", "data.digest", "data.flip"}


@pytest.mark.parametrize("name", sorted(ANY_STEP - NOT_MEASURED))
def test_what_reaches_a_step_as_numbers_is_not_measured_anew(name: str) -> None:
    first, other = (measured_as(trial, workers=1, compiled=True) for trial in (base_trial(), changed(name)))
    assert first == other
    assert step_shape(first) == step_shape(base_trial())


def test_a_term_with_a_module_of_its_own_is_measured_by_itself_whatever_its_weight() -> None:
    def with_terms(*terms: dict[str, object]) -> TrialConfig:
        return TrialConfig.model_validate({**base_trial().model_dump(), "diffusion": {"terms": terms}})

    plain, heavy = with_terms(), with_terms({"kind": "classifier", "weight": 2.0})
    light = with_terms({"kind": "classifier", "weight": 1e-3}, {"kind": "cosine"})
    assert speed_shape(plain) != speed_shape(heavy) == speed_shape(light)
    measured = [measured_as(trial, workers=1, compiled=False) for trial in (plain, heavy, light)]
    assert measured[0] != measured[1] == measured[2]


ON_A_GPU = {"device", "kernels"}
"""Settings that no CPU can show."""


def losses(trial: TrialConfig) -> list[float]:
    """Of a step in training whose weights are moved off their zeros, on the same images, noise and times each time."""
    torch.manual_seed(0)
    step = EagerStep(trial)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in step.network.train().parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    shape = (2, *trial.shape)
    x, e = torch.rand(shape, generator=generator), torch.randn((2, *trial.noise_shape), generator=generator)
    route = None if trial.model.routing.kind == "none" else torch.rand((2, trial.grid**2), generator=generator)
    batch = Batch(x=x, e=e, t=torch.tensor([0.2, 0.7]), y=torch.tensor([0, 1]), route=route)
    values: list[float] = step(batch).tolist()
    return values


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ANY_STEP | ON_A_GPU])
def test_a_setting_that_asks_for_another_step_computes_something_else(name: str) -> None:
    assert losses(base_trial(name)) == losses(base_trial(name))
    assert losses(changed(name)) != losses(base_trial(name))
