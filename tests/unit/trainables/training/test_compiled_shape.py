"""The rule of a shape against what torch compiles anew."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from tests.support.trial_settings import OTHERS, base_trial, changed
from tests.unit.trainables.training.test_learner import IMAGES
from trainables.config.recipe import Compile
from trainables.config.shape import step_shape
from trainables.config.trial import TrialConfig
from trainables.training.batches import Batches
from trainables.training.step import EagerStep, step_of


def shallow(trial: TrialConfig) -> TrialConfig:
    """Of one block, which compiles sooner."""
    return trial.model_copy(update={"model": trial.model.model_copy(update={"depth": 1, "class_tokens_start": 0})})


BASE = shallow(base_trial())
SAME_STEP = [name for name in OTHERS if step_shape(changed(name)) == step_shape(base_trial())]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("one_thread", "steps_as_traced"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]


def forward(trial: TrialConfig) -> torch.Tensor:
    """The losses of the trial's first images; the step is compiled without its backward pass."""
    return step_of(trial)(Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4))


def losses(trial: TrialConfig) -> torch.Tensor:
    """The same with the backward pass."""
    values = forward(trial)
    values.sum().backward()
    return values.detach()


def eager(trial: TrialConfig) -> torch.Tensor:
    step = EagerStep(trial)
    return step(Batches(trial, IMAGES, device=torch.device("cpu")).take(0, 4)).detach()


@pytest.mark.parametrize("way", [True, "blocks"])
def test_no_setting_that_the_rule_leaves_out_makes_torch_compile_anything_anew(way: Compile) -> None:
    losses(BASE.model_copy(update={"compile": way}))
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    for name in SAME_STEP:
        trial = shallow(changed(name)).model_copy(update={"compile": way})
        torch.testing.assert_close(losses(trial), eager(trial), rtol=1e-4, atol=1e-5)
        assert counters["stats"]["unique_graphs"] == graphs, name


@pytest.mark.parametrize("name", ["diffusion.loss", "precision"])
def test_a_setting_that_the_rule_counts_is_compiled_anew(name: str) -> None:
    kept = step_of(BASE)
    forward(BASE)
    graphs = counters["stats"]["unique_graphs"]
    other = step_of(shallow(changed(name)))
    assert other is not kept
    forward(shallow(changed(name)))
    assert counters["stats"]["unique_graphs"] > graphs
