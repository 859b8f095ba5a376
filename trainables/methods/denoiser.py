"""The method denoiser: the clean image is found in a noisy one, and samples follow the flow from noise."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.split import shares
from trainables.diffusion.loss import loss
from trainables.diffusion.sampler import passes, sample
from trainables.diffusion.stages import PathStage, path_stages
from trainables.diffusion.tapped import Told
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.methods.method import Stepped
from trainables.networks.network import Network


class FromLabels:
    """A method whose samples start from a class, beside noise."""

    def starts(self, _trial: TrialConfig, images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
        """Labels int64 [n]."""
        return sample_labels(images, evaluation)

    def starts_of_class(self, _trial: TrialConfig, _images: ImageSet, label: int, *, count: int) -> Tensor:
        """The label, int64 [count]."""
        return torch.full((count,), label)


class Denoiser(FromLabels):
    """See `trainables.config.method.DenoiserMethod`."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        t: Tensor,
        y: Tensor,
        t_eps: float | Tensor,
        route: Tensor | None,
        truths: Mapping[str, Tensor],
    ) -> Tensor:
        """In the trial's own cell and precision. Image i of the batch trains stage i modulo the path's stages, each at its own
        size."""
        assert isinstance(network, Network)
        stages = path_stages(network.trial.diffusion.path)
        if len(stages) == 1:
            return _of_stage(network, stages[0], x, e, t, y, t_eps, route, truths)
        places = [slice(number, None, len(stages)) for number in range(len(stages))]
        own = [{kind: truth[place] for kind, truth in truths.items()} for place in places]
        losses = [
            _of_stage(network, stage, x[place], e[place], t[place], y[place], t_eps, None, given)
            for stage, place, given in zip(stages, places, own, strict=True)
        ]
        return torch.stack(losses, dim=1).flatten()

    def draw(
        self,
        network: nn.Module,
        trial: TrialConfig,
        evaluation: EvaluationConfig,
        begun: Tensor,
        *,
        first: int,
        stepped: Stepped,
        guide: nn.Module | None,
    ) -> Tensor:
        """By the evaluation's sampler, of these labels."""
        start, *borders = sampling_noise(trial, evaluation, first=first, count=len(begun))
        return sample(
            network,
            start.to(begun.device),
            begun,
            diffusion=trial.diffusion,
            evaluation=evaluation,
            num_classes=trial.data.num_classes,
            stepped=stepped,
            guide=guide,
            borders=[noise.to(begun.device) for noise in borders],
        )

    def passes(self, trial: TrialConfig, evaluation: EvaluationConfig) -> int:
        """By the sampler, its steps and its guidance."""
        return passes(evaluation, trial.diffusion.path)


def sampling_noise(trial: TrialConfig, evaluation: EvaluationConfig, *, first: int, count: int) -> list[Tensor]:
    """The noise that samples first..first+count-1 start from, [count, C, H, W], and what they get at the start of each further
    stage of the path, of that stage's size; in the trial's noise_scale."""
    draws, shapes = PhiloxDraws(evaluation.seed), [view.shape for view in trial.stage_views[1:]]
    start = draws.normal(Purpose.SAMPLE_NOISE, first=first, count=count, shape=trial.shape)
    return [trial.diffusion.noise_scale * noise for noise in (start, *_at_borders(draws, shapes, first=first, count=count))]


def _at_borders(draws: PhiloxDraws, shapes: list[tuple[int, int, int]], *, first: int, count: int) -> list[Tensor]:
    """Independent standard normals of each shape."""
    if not shapes:
        return []
    sizes = [math.prod(shape) for shape in shapes]
    drawn = draws.normal(Purpose.BORDER_NOISE, first=first, count=count, shape=(sum(sizes),)).split(sizes, dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(drawn, shapes, strict=True)]


def sample_labels(images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
    """Labels int64 [n] in the training split's proportions, in an order of chance: by largest remainders, or drawn one by one.

    Even labels would bias a distance to a set whose classes are uneven.
    """
    counts, draws = np.bincount(images.labels(images.train).numpy()), PhiloxDraws(evaluation.seed)
    if evaluation.labels == "drawn":
        u = draws.uniform(Purpose.SAMPLE_LABEL, first=0, count=evaluation.n)
        return torch.from_numpy(np.searchsorted(np.cumsum(counts) / counts.sum(), u.numpy(), side="right"))
    labels = np.repeat(np.arange(len(counts)), shares(counts, evaluation.n))
    return torch.from_numpy(labels[draws.permutation(Purpose.SAMPLE_LABEL, 0, evaluation.n)])


def _of_stage(
    network: Network,
    stage: PathStage,
    x: Tensor,
    e: Tensor,
    t: Tensor,
    y: Tensor,
    t_eps: float | Tensor,
    route: Tensor | None,
    truths: Mapping[str, Tensor],
) -> Tensor:
    """The loss of each image that trains this stage, [B]."""
    trial, example = network.trial, stage.example(x, e, t)
    z, time = stage.seen(example.z, example.t, network.noise_scale)
    told: dict[str, Told] = {}
    with torch.autocast(x.device.type, torch.bfloat16, enabled=trial.precision == "bf16"):
        if truths:
            output, tokens = network.tapped(z, time, y, route)
            told = {kind: Told(module(tokens[kind]), truths[kind]) for kind, module in network.auxiliary.items()}
        else:
            output = network(z, time, y) if route is None else network(z, time, y, route)
    return loss(output.float(), *example, trial.diffusion, t_eps=t_eps, told=told, stage=stage)
