"""What the benchmark on a GPU trains: its cases and modes, and the numbers of an update that every mode has to make."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from search_spaces.presets import preset
from tests.bench.official_step import OfficialNetwork, OfficialStep, official_names
from tests.support.trials import trial_of_recipe
from trainables.config.average import DecayEma
from trainables.config.recipe import Precision
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import ImageSet
from trainables.networks.jit import JiT
from trainables.networks.memory import Fit, fit
from trainables.networks.network import Network
from trainables.networks.registry import blank
from trainables.training.batches import Batches
from trainables.training.fitting import memory_of
from trainables.training.learner import Learner
from trainables.training.step import image_losses
from trainables.training.workers import Workers

CLASSES = 1000
OFFICIAL = "official"
MODES: Mapping[str, Mapping[str, object]] = {
    OFFICIAL: {"attention": "fp32", "residual": "bf16"},
    "eager": {},
    "compile": {"compile": True},
    "triton": {"kernels": "triton"},
    "triton-bf16": {"kernels": "triton", "residual": "bf16"},
    "graphs": {"graphs": True},
    "compile-graphs": {"compile": True, "graphs": True},
    "triton-graphs": {"kernels": "triton", "residual": "bf16", "graphs": True},
}
"""A trial's settings by mode. The first is the official step, compiled as the official code compiles it; its settings are for
the memory model and the tolerance alone."""
TOLERANCE: Mapping[Precision, float] = {"fp32": 5e-3, "bf16": 2e-2}
"""Largest relative difference of an update's mean loss and of its gradient's norm from torch's eager kernels, by the precision
of the residual stream. Both are computed in bf16, whose rounding makes about 1e-3 of it."""
BIAS_STD, WEIGHT_STD = 0.3, 0.02


@dataclass(frozen=True)
class Case:
    """A preset with its patch size, the image size, and the images of an update, less where memory holds less."""

    preset: str
    image_size: int
    batch_size: int

    def __str__(self) -> str:
        return f"{self.preset}@{self.image_size}"


_ALL = (
    *(Case(f"jit-b/{patch}", 128, 256) for patch in (32, 16, 8, 4, 2, 1)),
    Case("jit-b/16", 256, 256),
    Case("jit-l/16", 256, 128),
    Case("jit-h/16", 256, 128),
    Case("jit-s/16", 64, 256),
    Case("jit-tiny/16", 32, 32),
)
CASES: Mapping[str, Case] = {str(case): case for case in _ALL}


class Seen(NamedTuple):
    """What an update showed: its mean loss and the norm of its gradient."""

    loss: float
    grad_norm: float

    def apart(self, expected: "Seen", *, residual: Precision) -> "Seen":
        """Relative differences. ArithmeticError where one is too large for the same update."""
        apart = Seen(*(abs(own / theirs - 1) for own, theirs in zip(self, expected, strict=True)))
        if not all(difference < TOLERANCE[residual] for difference in apart):
            raise ArithmeticError(f"an update must have the eager loss and gradient norm, got {self} of {expected}")
        return apart


class Ours:
    """A trial's own learner."""

    def __init__(self, trial: TrialConfig, images: ImageSet, how: Fit) -> None:
        self._learner = Learner(trial, images, workers=Workers(), fit=how)
        fill(self._learner.network)

    def update(self) -> None:
        """One update over the next images."""
        self._learner.update()

    def seen(self) -> Seen:
        """Of the updates since the last call; the norm is the last one's."""
        return Seen(self._learner.health.mean_loss(), self._learner.health.grad_norm() or math.nan)


class Official:
    """The compiled official step on the batches that the trial sees, drawn as ours are."""

    def __init__(self, trial: TrialConfig, images: ImageSet, *, compiled: bool = True) -> None:
        decays = tuple(average.decay for average in trial.ema if isinstance(average, DecayEma))
        self._step = OfficialStep(filled_official(trial, compiled=compiled), decays=decays)
        self._batches = Batches(trial, images, device=torch.device(trial.device))
        self._count, self._images, self._loss = trial.batch_size, 0, math.nan

    def update(self) -> None:
        """One update over the next images, all of them at once."""
        batch = self._batches.take(self._images, self._count)
        self._loss = self._step(batch.x, batch.e, batch.t, batch.y)
        self._images += self._count

    def seen(self) -> Seen:
        """Of the last update."""
        return Seen(self._loss, grad_norm(self._step.network))


def trial_of(case: Case, *, device: str = "cuda", **changes: object) -> TrialConfig:
    """The case's trial in bf16, without dropout, so that all modes compute the same loss; its batch is what memory holds.

    Infeasible: not even one image fits.
    """
    data = DataConfig(digest="none", image_size=case.image_size, num_classes=CLASSES)
    given = {"data": data, "device": device, "batch_size": case.batch_size, "precision": "bf16", **changes}
    trial = trial_of_recipe(preset(case.preset), **given)
    trial = trial.model_copy(update={"model": trial.model.model_copy(update={"attn_dropout": 0.0, "proj_dropout": 0.0})})
    return trial.model_copy(update={"batch_size": how_of(trial).micro_batch})


def how_of(trial: TrialConfig, *, split: bool = True) -> Fit:
    """How one GPU goes through the trial's batch; `split`: recomputing activations where need be. Infeasible: nothing fits."""
    memory = memory_of(torch.device(trial.device))
    return fit(trial, share=trial.batch_size, memory_bytes=memory, activation_checkpointing=None if split else False)


def in_mode(trial: TrialConfig, mode: str) -> TrialConfig:
    """The trial with a mode's settings. ValueError: they do not go together."""
    return TrialConfig.model_validate({**trial.model_dump(), **MODES[mode]})


def expected(trial: TrialConfig, images: ImageSet, *, at_once: int) -> Seen:
    """The first update in torch's eager kernels, `at_once` images at a time."""
    network = filled(trial).train()
    batches = Batches(trial, images, device=torch.device(trial.device))
    loss = 0.0
    for first in range(0, trial.batch_size, at_once):
        batch = batches.take(first, min(at_once, trial.batch_size - first))
        losses = image_losses(network, batch.x, batch.e, batch.t, batch.y, trial.diffusion.t_eps_train)
        mean = losses.sum() / trial.batch_size
        mean.backward()
        loss += float(mean.detach())
    return Seen(loss, grad_norm(network))


def grad_norm(network: nn.Module) -> float:
    """Norm of the whole gradient. Waits for the device."""
    gradients: list[Tensor] = [p.grad for p in network.parameters() if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))


def filled(trial: TrialConfig) -> Network:
    """The trial's network on its device with the numbers of `fill`."""
    network = blank(trial).to(trial.device)
    fill(network)
    return network


def filled_official(trial: TrialConfig, *, compiled: bool) -> OfficialNetwork:
    """The same network in the official form. ValueError: its components are not the official ones."""
    network = filled(trial)
    if not isinstance(network, JiT) or trial.model.embedding.kind != "bottleneck" or not trial.model.class_tokens:
        raise ValueError("the official code has no such network: its embedding or its class tokens are others")
    official = OfficialNetwork(trial, compiled=compiled).to(trial.device)
    official.load_state_dict(official_names(network))
    return official


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Fixed random parameters: a fresh network's gates are closed and its output is zero, so that any kernel would pass."""
    parameters = dict(network.named_parameters())
    generator = torch.Generator(next(iter(parameters.values())).device).manual_seed(0)
    for name, parameter in parameters.items():
        parameter.normal_(0.0, WEIGHT_STD if parameter.ndim > 1 else BIAS_STD, generator=generator)
        if parameter.ndim == 1 and name.endswith("weight"):  # a norm's
            parameter.add_(1)
