"""Throw-away entries of the seams that a trainer uses, and what the program makes of each."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.unit.docs.plan_seams import Add, Proof
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import Frozen
from trainables.config.objective import ClassifierTerm, NoWeighting, WeightedTerm
from trainables.data import ImageSet, open_images
from trainables.diffusion.integrators import Velocity, Z
from trainables.diffusion.loss import loss
from trainables.diffusion.sampler import sample
from trainables.diffusion.t_sampling import times
from trainables.diffusion.tapped import Told
from trainables.evaluation.metrics.registry import Metric, Samples
from trainables.evaluation.real import Reference
from trainables.evaluation.reference import references
from trainables.evaluation.score import Scorer

HALF = torch.full((2,), 0.5)
ONES = torch.ones(2, 1, 2, 2)


def images() -> ImageSet:
    return open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)


def brightness(features: Tensor, real: Reference) -> float:
    """Mean feature of the generated images minus that of the real ones."""
    return float(features.mean() - real.features.mean())


def metric(add: Add, folder: Path) -> None:
    """A metric that generated images are then scored by."""
    needs = Samples("efflite0", against="heldout")
    add("brightness", Metric("brightness", "maximize", "feature", "mean", needs=needs, compute=f"{__name__}:brightness"))
    real = images()
    assert abs(Scorer(real, cache=None).score(real.read(real.heldout))["brightness"]) < 1e-6


class Channels:
    """An image's mean colour."""

    dimensions = 3

    def variant(self, image_size: int) -> str:
        return "channels"

    def features(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


CHANNELS = Channels()


def feature_extractor(add: Add, folder: Path) -> None:
    """An extractor that the real images' features are then made by."""
    add("channels", f"{__name__}:CHANNELS")
    real = images()
    features = references(real, under="channels", cache=None).heldout.features
    torch.testing.assert_close(features, real.read(real.heldout).float().mean((2, 3)))


def absolute_error(ours: Tensor, true: Tensor, t: Tensor) -> Tensor:
    return (ours - true).abs().flatten(1).mean(1)


def loss_of(**choices: Any) -> Tensor:
    """Of two images: output 3, truth 1, at t = 1/2 with x-loss, whose squared error is 4."""
    return loss(3 * ONES, ONES, ONES, ONES, HALF, DiffusionConfig(loss="x").model_copy(update=choices))


def loss_term(add: Add, _: Path) -> None:
    """A term that the loss is then summed from."""
    add("absolute_error", absolute_error)
    term = WeightedTerm.model_construct(kind="absolute_error", weight=3.0)
    assert loss_of(terms=(term,)).tolist() == [10.0, 10.0]


def loss_term_of_tokens(add: Add, _: Path) -> None:
    """A term of tokens that the loss is then summed from."""
    add("classifier", lambda told: (told.said - told.true).square())
    told = Told(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    diffusion = DiffusionConfig(loss="x", terms=(ClassifierTerm(kind="classifier", weight=2.0),))
    assert loss(3 * ONES, ONES, ONES, ONES, HALF, diffusion, told={"classifier": told}).tolist() == [4.0, 12.0]


def weighting(add: Add, _: Path) -> None:
    """A weighting that the loss is then multiplied by."""
    add("by_time", lambda losses, t, _: t * losses)
    assert loss_of(weighting=NoWeighting.model_construct(kind="by_time")).tolist() == [2.0, 2.0]


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


def t_sampling(add: Add, _: Path) -> None:
    """A distribution that t is then drawn from."""
    add("linear", LinearTimes)
    drawn: Any = Linear()
    assert times(torch.tensor([0.25, 0.81], dtype=torch.float64), drawn).tolist() == [0.5, torch.tensor(0.9).item()]


class Standstill:
    """Moves nothing."""

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        return z

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return ()


class Line(nn.Module):
    """The velocity 1 everywhere."""

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.ones_like(z)


def integrator(add: Add, _: Path) -> None:
    """An integrator that samples are then drawn by; the last step is Euler's."""
    add("standstill", Standstill())
    evaluation = EvaluationConfig(steps=4).model_copy(update={"sampler": "standstill"})
    labels, diffusion = torch.zeros(2, dtype=torch.int64), DiffusionConfig(prediction="v")
    end = sample(Line(), torch.zeros_like(ONES), labels, diffusion=diffusion, evaluation=evaluation, num_classes=1)
    torch.testing.assert_close(end, 0.25 * ONES)


PROOFS: dict[str, Proof] = {
    "metric": metric,
    "feature extractor": feature_extractor,
    "loss term": loss_term,
    "loss term of tokens": loss_term_of_tokens,
    "weighting": weighting,
    "t-sampling": t_sampling,
    "integrator": integrator,
}
