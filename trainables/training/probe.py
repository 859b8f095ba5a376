"""`python -m trainables.training.probe`: measures trials of one shape, in a process of its own.

Reads a `ProbeRequest` as JSON on standard input and prints a `Measured` as one line of JSON. One shape a process: the most
memory that a process ever held never falls again.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet, open_images
from trainables.diffusion.classifier_guidance import push
from trainables.diffusion.sampler import guided_passes
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.generate import generate
from trainables.evaluation.held_out import held_out
from trainables.evaluation.metrics.heldout import MOST_IMAGES
from trainables.evaluation.metrics.jackknife import group_of
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRICS
from trainables.evaluation.reference import made_up
from trainables.evaluation.score import MOST_JACKKNIFED, extractors_used, of_samples, score_network
from trainables.methods.registry import method_of
from trainables.networks.memory import peak_bytes
from trainables.networks.registry import blank_model
from trainables.training.fitting import fitted
from trainables.training.latents import stand_in
from trainables.training.learner import Learner
from trainables.training.measurement import Measured, ProbeRequest
from trainables.training.workers import Workers

LEAST_UPDATES = 3
MOST_UPDATES = 100
LEAST_S = 1.0
"""Updates are measured for this long, within those numbers."""
MOST_REFERENCE = 4096
"""Made-up features of real images that metrics are timed on."""
MISTAKE = 2
_STATUS = Path("/proc/self/status")


def main() -> int:
    """Exit codes: 0 measured, 2 this shape cannot be trained here; the last line of standard error says why."""
    try:
        request = ProbeRequest.model_validate_json(sys.stdin.read())
        measured = measure(request)
    except (ValidationError, ValueError, OSError, RuntimeError) as error:  # CUDA's errors are RuntimeErrors
        reason = " ".join(str(error).split()) or type(error).__name__
        print(reason, file=sys.stderr)  # noqa: T201
        return MISTAKE
    print(measured.model_dump_json(), flush=True)  # noqa: T201
    return 0


def measure(request: ProbeRequest) -> Measured:
    """Train a few updates and evaluate a little.

    ValueError: the data is not the trial's, there is no GPU for it, or it does not fit its memory.
    """
    torch.set_num_threads(request.threads)
    if request.trial.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("a trial on a GPU can only be measured where torch finds one, got none")
    images = open_images(request.data, holdout=request.holdout)
    fit = fitted(request.trial, images, share=request.trial.batch_size, workers=request.workers, limits=request)
    latents = stand_in(request.trial, images) if request.trial.space.kind == "latent" else None
    learner = Learner(request.trial, images, workers=Workers(), fit=fit, latents=latents)
    warm = 2 if request.trial.graphs else 1  # the second records what the first has warmed up
    first_s = sum(_timed(learner, learner.update) for _ in range(warm))
    update_s = _update_s(learner)
    rung_s, network_s = _network_s(learner, images)
    return Measured(
        images_per_second=request.trial.batch_size / update_s,
        warmup_s=max(0.0, first_s - warm * update_s),
        rung_s=rung_s,
        sampled_s=_sampled_s(learner, images, request.evaluation, request.guide) + network_s,
        peak_bytes=_most_memory(learner.device),
        modelled_bytes=peak_bytes(request.trial, fit, workers=request.workers),
        micro_batch=fit.micro_batch,
        activation_checkpointing=fit.activation_checkpointing,
    )


@dataclass(frozen=True)
class _FewHeldOut:
    """An image set of which only the first few held-out images are looked at."""

    images: ImageSet
    count: int

    @property
    def fingerprint(self) -> str:
        return self.images.fingerprint

    @property
    def train(self) -> NDArray[np.int64]:
        return self.images.train

    @property
    def heldout(self) -> NDArray[np.int64]:
        return self.images.heldout[: self.count]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: NDArray[np.int64]) -> torch.Tensor:
        return self.images.read(indices)

    def labels(self, indices: NDArray[np.int64]) -> torch.Tensor:
        return self.images.labels(indices)


def _timed(learner: Learner, work: Callable[[], object]) -> float:
    """Seconds until the device has done it."""
    _wait(learner.device)
    start = time.perf_counter()
    work()
    _wait(learner.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _update_s(learner: Learner) -> float:
    """The median update. ValueError: the losses are not finite."""
    seconds = sorted(_updates(learner))
    if not math.isfinite(learner.health.mean_loss()):
        raise ValueError("a probe must train on finite losses, got others; is the data sound?")
    return seconds[len(seconds) // 2]


def _updates(learner: Learner) -> Iterator[float]:
    end = time.perf_counter() + LEAST_S
    for count in range(MOST_UPDATES):
        if count >= LEAST_UPDATES and time.perf_counter() >= end:
            return
        yield _timed(learner, learner.update)


def _network_s(learner: Learner, images: ImageSet) -> tuple[float, float]:
    """What rungs measure of a network, and all its metrics without images, scaled up from one batch of the grid."""
    whole = min(len(images.heldout), MOST_IMAGES)
    few = min(whole, max(1, images_at_once(learner.trial, device=learner.device.type) // 2))
    grid = held_out(learner.trial, _FewHeldOut(images, few), space=learner.network.space, device=learner.device)
    of_rung = partial(METRICS[RUNG_METRICS[learner.trial.error_kind]].of_network, grid, learner.network, learner.trial)
    of_rung()  # warms up
    every = partial(score_network, grid, learner.network, learner.trial)
    return _timed(learner, of_rung) * whole / few, _timed(learner, every) * whole / few


def _sampled_s(learner: Learner, images: ImageSet, evaluation: EvaluationConfig, guide: TrialConfig | None) -> float:
    """Drawing and scoring n images, scaled up from two steps of one batch; the metrics at their real n. 0 of what draws
    none."""
    if not learner.trial.draws:
        return 0.0
    few, trial = min(evaluation.n, images_at_once(learner.trial, device=learner.device.type)), learner.trial
    unguided = {"guidance": 1.0, "classifier": None, "classifier_scale": 1.0}
    short = evaluation.model_copy(update={"n": few, "steps": 2 * trial.diffusion.path.count, "sampler": "euler", **unguided})
    method = method_of(trial)
    begun = method.starts(trial, images, short)

    def drawn() -> torch.Tensor:
        return generate(learner.network, trial, short, begun)

    samples = drawn()  # warms up
    image_s = _timed(learner, drawn) / few * method.passes(trial, evaluation) / method.passes(trial, short)
    if guide is not None:
        image_s += _push_s(learner, guide, few) / few * guided_passes(evaluation)
    features_s = _features_s(learner, samples, evaluation) / few
    return evaluation.n * (image_s + features_s) + _metrics_s(learner, images, evaluation)


def _push_s(learner: Learner, guide: TrialConfig, count: int) -> float:
    """One push of `count` noisy images by a classifier, whatever it has learned."""
    network, labels = blank_model(guide).to(learner.device).eval(), torch.zeros(count, dtype=torch.int64, device=learner.device)
    z = torch.zeros(count, *learner.trial.shape, device=learner.device)

    def pushed() -> torch.Tensor:
        return push(network, z, 0.5, labels, scale=1.0, noise_scale=learner.trial.noise_scale, t_eps=0.05)

    pushed()  # warms up
    return _timed(learner, pushed)


def _features_s(learner: Learner, samples: torch.Tensor, evaluation: EvaluationConfig) -> float:
    """The features of these images by every extractor in use."""
    seconds = 0.0
    for network in extractors_used(evaluation.features).values():
        network.features(samples)  # warms up
        seconds += _timed(learner, partial(network.features, samples))
    return seconds


def _metrics_s(learner: Learner, images: ImageSet, evaluation: EvaluationConfig) -> float:
    """The metrics of n images and their errors, on made-up features."""
    generator = torch.Generator().manual_seed(0)
    count, n = max(2, min(len(images.train), MOST_REFERENCE)), evaluation.n
    groups = torch.tensor(group_of(n), dtype=torch.int64)
    used, seconds = extractors_used(evaluation.features), 0.0
    real = {name: made_up(torch.randn(count, network.dimensions, generator=generator)) for name, network in used.items()}
    generated = {name: torch.randn(n, network.dimensions, generator=generator) for name, network in used.items()}
    for metric, needs in of_samples(evaluation.features, n=n):
        of_these = generated[needs.extractor], real[needs.extractor]
        measured = partial(metric.of_samples, *of_these)
        measured()  # warms up
        once = _timed(learner, measured)
        if 0 < len(groups) <= MOST_JACKKNIFED:
            once += _timed(learner, partial(metric.without_each, *of_these, groups))
        seconds += once * (len(images.train) / count if metric.cost == "pairs" else 1)
    return seconds


def _most_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():  # where getrusage counts what the parent held, too
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
