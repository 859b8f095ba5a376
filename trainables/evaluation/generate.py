"""Images from a trial's network: the same starting noise and labels for every trial that shares the evaluation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_pixels
from trainables.data.split import shares
from trainables.diffusion.sampler import sample
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.replayed import Replayed


class Interrupted(Exception):
    """Asked to stop between two batches."""


def generate(
    network: nn.Module,
    trial: TrialConfig,
    evaluation: EvaluationConfig,
    labels: Tensor,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    drawn: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """uint8 images [n, C, H, W] of these labels [n], on the network's device and in the trial's precision.

    `drawn` hears after each step how many images that is so far, a batch under way counted by the steps that it has made.
    NotFinite: a sample is not finite. Interrupted: `interrupted`, read before every batch, returned true.
    """
    device = next(network.parameters()).device
    labels = labels.to(device)
    size = images_at_once(trial, device=device.type)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=trial.precision == "bf16")
    with torch.inference_mode(), autocast:
        network = Replayed(network, device) if trial.graphs and device.type == "cuda" else network
        batches = []
        for first in range(0, len(labels), size):
            if interrupted():
                raise Interrupted
            batches.append(_batch(network, trial, evaluation, labels[first : first + size], first, drawn))
    return torch.cat(batches)


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


def _batch(
    network: nn.Module,
    trial: TrialConfig,
    evaluation: EvaluationConfig,
    labels: Tensor,
    first: int,
    drawn: Callable[[int], None],
) -> Tensor:
    data, diffusion = trial.data, trial.diffusion
    shape = (data.channels, data.image_size, data.image_size)
    noise = PhiloxDraws(evaluation.seed).normal(Purpose.SAMPLE_NOISE, first=first, count=len(labels), shape=shape)
    start = diffusion.noise_scale * noise.to(labels.device)

    def stepped(steps: int) -> None:
        drawn(first + len(labels) * steps // evaluation.steps)

    samples = sample(
        network,
        start,
        labels,
        diffusion=diffusion,
        evaluation=evaluation,
        num_classes=data.num_classes,
        stepped=stepped,
    )
    return to_pixels(require_finite(samples.float(), what="generated pixels"))
