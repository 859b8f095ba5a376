"""Rows of the training table: images a second, share of the peak, memory, the noise's share, seconds until it is warm."""

import gc
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import torch

from tests.bench.gpu_modes import OFFICIAL, Case, Official, Ours, Seen, expected, how_of, in_mode, trial_of
from tests.support.images import NoiseImages
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.draws.philox import Purpose
from trainables.networks.cost import training_flops
from trainables.networks.memory import Fit, peak_bytes
from trainables.process_caches import clear_process_caches
from trainables.training.batches import draws_on
from trainables.training.hardware import peak_flops

HEADER = [
    *("case", "mode", "tokens", "images an update", "img/s", "ms an update", "MFU", "peak GiB (model)", "noise", "warm-up"),
    "loss, gradient apart",
]
WARM_UPDATES = 3
REPEATS = 5
DRAWS = 50
LEAST_S = 0.4
"""Seconds that one repeat takes at least."""


class Trained(Protocol):
    """Something that trains, update by update."""

    def update(self) -> None: ...

    def seen(self) -> Seen: ...


def cells(case: Case, mode: str, *, attention: str, device: str = "cuda") -> list[list[str]]:
    """One row: medians of `REPEATS` stretches, each timed by the host between two waits for the device.

    ArithmeticError: the first update is not the one that torch's eager kernels make.
    """
    plain = trial_of(case, device=device, attention=attention)
    images = images_of(plain)
    begun = begin(in_mode(plain, mode), images, official=mode == OFFICIAL)
    trained, trial = begun.trained, begun.trial
    peak = peak_bytes_of(trained, device) - begun.bytes_before
    seconds = median(stretches(trained, device))
    noise_s = noise_seconds(trial)
    del trained, begun.trained
    fresh(device)
    one = plain.model_copy(update={"batch_size": trial.batch_size})
    apart = begun.first.apart(expected(one, images, at_once=begun.how.micro_batch), residual=trial.residual)
    speed = trial.batch_size / seconds
    return [
        [
            *(str(trial.grid**2), images_cell(begun), f"{speed:.1f}", f"{1000 * seconds:.2f}", mfu(trial, speed)),
            *(f"{peak / 2**30:.1f} ({peak_bytes(trial, begun.how) / 2**30:.1f})", f"{100 * noise_s / seconds:.2f} %"),
            *(f"{begun.warmup_s:.1f} s", f"{apart.loss:.0e}, {apart.grad_norm:.0e}"),
        ]
    ]


@dataclass
class Begun:
    """Something that has made its first updates."""

    trained: Trained
    trial: TrialConfig
    how: Fit
    first: Seen
    warmup_s: float
    """Until its third update is done: built, compiled or captured."""
    bytes_before: int


def begin(trial: TrialConfig, images: ImageSet, *, official: bool) -> Begun:
    """Build it and make `WARM_UPDATES`. The official step does not split its batch: it is halved until it fits."""
    how = how_of(trial, split=not official)
    while True:
        fresh(trial.device)
        before, start = allocated(trial.device), time.perf_counter()
        with suppress(torch.OutOfMemoryError) if official and how.micro_batch > 1 else nullcontext():
            if official:
                trial = trial.model_copy(update={"batch_size": how.micro_batch})
            trained: Trained = Official(trial, images) if official else Ours(trial, images, how)
            first = warmed(trained, trial.device)
            return Begun(trained, trial, how, first, time.perf_counter() - start, before)
        how = how._replace(micro_batch=how.micro_batch // 2)


def warmed(trained: Trained, device: str) -> Seen:
    """What the first of `WARM_UPDATES` showed."""
    trained.update()
    first = trained.seen()
    for _ in range(WARM_UPDATES - 1):
        trained.update()
    wait(device)
    return first


def peak_bytes_of(trained: Trained, device: str) -> int:
    """Most bytes at once in two updates; 0 where there is no GPU."""
    if device == "cpu":
        return 0
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        trained.update()
    wait(device)
    return torch.cuda.max_memory_allocated()


def stretches(trained: Trained, device: str) -> Iterator[float]:
    """Seconds an update."""
    updates = 1
    while (seconds := timed(trained, updates, device)) < LEAST_S:
        updates = max(updates + 1, round(1.2 * updates * LEAST_S / max(seconds, 1e-3)))
    for _ in range(REPEATS):
        yield timed(trained, updates, device) / updates


def timed(trained: Trained, updates: int, device: str) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(updates):
        trained.update()
    wait(device)
    return time.perf_counter() - start


def noise_seconds(trial: TrialConfig) -> float:
    """Seconds of drawing the noise of one update."""
    data, draws = trial.data, draws_on(torch.device(trial.device), seed=0)
    shape = (data.channels, data.image_size, data.image_size)
    draws.normal(Purpose.NOISE, first=0, count=trial.batch_size, shape=shape)
    wait(trial.device)
    start = time.perf_counter()
    for i in range(DRAWS):
        draws.normal(Purpose.NOISE, first=i, count=trial.batch_size, shape=shape)
    wait(trial.device)
    return (time.perf_counter() - start) / DRAWS


def images_cell(begun: Begun) -> str:
    """Images of an update, and how they are gone through where not all at once."""
    parts = [str(begun.trial.batch_size)]
    if begun.how.micro_batch < begun.trial.batch_size:
        parts.append(f"{begun.how.micro_batch} at once")
    if begun.how.activation_checkpointing:
        parts.append("recomputed")
    return ", ".join(parts)


def mfu(trial: TrialConfig, images_per_second: float) -> str:
    """Model FLOPs by the closed form over what the device's maker gives; recomputed activations do not count."""
    limit = peak_flops(torch.cuda.get_device_name()) if trial.device == "cuda" else None
    return f"{100 * training_flops(trial, images=1) * images_per_second / limit:.1f} %" if limit else "-"


def images_of(trial: TrialConfig) -> NoiseImages:
    """Random images, more than an update takes."""
    return NoiseImages(max(512, trial.batch_size), size=trial.data.image_size, classes=trial.data.num_classes)


def fresh(device: str) -> None:
    """Leave no compiled code, and none of the memory, of a row before."""
    torch._dynamo.reset()
    clear_process_caches()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def allocated(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else 0


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
