"""A tiny trial and a network of it that computes something: a fresh one is zero at the output and open at no gate."""

import torch

from trainables.config.network import BottleneckEmbedding, ModelConfig
from trainables.config.recipe import Recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.evaluation.metrics.registry import Metric, NetworkAlone, Samples
from trainables.networks.jit import JiT
from trainables.networks.network import Network
from trainables.networks.registry import build

CLASSES = 5
SIZE = 16


def small_model(**changes: object) -> ModelConfig:
    """Every JiT component, on 16 tokens of width 48."""
    values: dict[str, object] = {"patch_size": 4, "width": 48, "depth": 4, "heads": 4, "embedding": BottleneckEmbedding(dim=16)}
    return ModelConfig.model_validate({**values, "class_tokens": 3, "class_tokens_start": 2, **changes})


def small_trial(model: ModelConfig | None = None, *, data: DataConfig | None = None, **changes: object) -> TrialConfig:
    """A trial on `data`, else on noise of 16 pixels; in fp32 at 4 images a batch, with some keys changed."""
    noise = DataConfig(digest="none", image_size=SIZE, num_classes=CLASSES)
    values: dict[str, object] = {"precision": "fp32", "batch_size": 4, **changes}
    return TrialConfig.model_validate({"data": data or noise, "model": model or small_model(), **values})


def trial_of_recipe(recipe: Recipe, **changes: object) -> TrialConfig:
    """A recipe's trial without a warm-up, which a recipe has for a budget and data that such a trial has not."""
    tree = recipe.model_dump()
    return TrialConfig.model_validate({**tree, "optimiser": {**tree["optimiser"], "warmup_images": 0}, **changes})


def jit(trial: TrialConfig) -> JiT:
    """The trial's fresh network, whose trunk is JiT's."""
    network = build(trial)
    assert isinstance(network, JiT)
    return network


@torch.no_grad()
def moved(trial: TrialConfig) -> Network:
    """The trial's network in evaluation form, moved off its zeros by fixed noise."""
    network = build(trial).eval()
    generator = torch.Generator().manual_seed(7)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def lively(trial: TrialConfig) -> JiT:
    """The same of a trial whose trunk is JiT's."""
    network = moved(trial)
    assert isinstance(network, JiT)
    return network


def batch(count: int = 4, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """z [count, 3, 16, 16], t [count], y [count]."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    return z, torch.rand(count, generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)


def is_of_flows(metric: Metric) -> bool:
    """Whether a trial of the plain flow has this score: one of samples, or of its own kind of network."""
    return isinstance(metric.needs, Samples) or metric.needs == NetworkAlone()
