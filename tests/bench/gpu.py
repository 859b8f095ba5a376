"""`python -m tests.bench.gpu`: training speed, memory and noise on one GPU. Needs torch, numpy, pydantic, pillow, fsspec.

Each row trains a fresh learner on random images through the trainer's own update: draws, forward, backward, AdamW, averages.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch

from search_spaces.presets import preset
from tests.support.images import NoiseImages
from trainables.config.trial import DataConfig, TrialConfig
from trainables.draws.philox import Purpose
from trainables.networks.cost import training_flops
from trainables.networks.memory import Fit, fit, peak_bytes
from trainables.process_caches import clear_process_caches
from trainables.training.fitting import memory_of
from trainables.training.hardware import peak_flops
from trainables.training.learner import Learner
from trainables.training.workers import Workers

CLASSES = 1000
REPEATS = 5
LEAST_S = 0.4
"""Seconds that one repeat takes at least."""
MODES = ("eager", "compile", "graphs", "compile+graphs")
CASES = [
    ("jit-b/16", 256, 256),
    ("jit-l/16", 256, 128),
    *((f"jit-b/{patch}", 128, 256) for patch in (32, 16, 8, 4, 2, 1)),
    ("jit-s/16", 64, 256),
    ("jit-tiny/16", 32, 32),
]
"""Preset, image size, and images of an update, less where memory holds less."""


@dataclass(frozen=True)
class Row:
    """What one case showed in one mode."""

    images_per_second: float
    mfu: float | None
    peak_gib: float
    modelled_gib: float
    warmup_s: float
    noise_share: float

    def __str__(self) -> str:
        mfu = f"{100 * self.mfu:5.1f} %" if self.mfu is not None else "      -"
        speed = f"{self.images_per_second:9.1f} img/s  MFU {mfu}"
        memory = f"peak {self.peak_gib:5.1f} GiB (model {self.modelled_gib:5.1f})"
        return f"{speed}  {memory}  noise {100 * self.noise_share:4.2f} %  warm-up {self.warmup_s:5.1f} s"


def main() -> None:
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # as a lane has it
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    parser.add_argument("--cases", nargs="*", help="such as jit-b/16@256; all where none are named")
    chosen = parser.parse_args()
    say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, one GPU")
    for name, size, batch in CASES:
        if chosen.cases and f"{name}@{size}" not in chosen.cases:
            continue
        trial = trial_of(name, image_size=size, batch_size=batch)
        how = fit(trial, share=batch, memory_bytes=memory_of(torch.device("cuda", 0)))
        trial = trial.model_copy(update={"batch_size": how.micro_batch})
        recomputed = ", activations recomputed" if how.activation_checkpointing else ""
        say(f"\n{name} at {size} px: {trial.grid**2} tokens, {how.micro_batch} images an update{recomputed}")
        for mode in chosen.modes:
            say(f"  {mode:14} {measured(trial, how, mode=mode)}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def trial_of(name: str, *, image_size: int, batch_size: int) -> TrialConfig:
    data = DataConfig(digest="none", image_size=image_size, num_classes=CLASSES)
    recipe = {**preset(name).model_dump(), "batch_size": batch_size, "precision": "bf16"}
    return TrialConfig.model_validate({**recipe, "data": data, "device": "cuda"})


def measured(trial: TrialConfig, how: Fit, *, mode: str) -> Row:
    """One case in one mode: medians of `REPEATS` stretches, each timed by the host between two waits for the device."""
    torch._dynamo.reset()
    clear_process_caches()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    start = time.perf_counter()
    learner = in_mode(trial, how, mode=mode)
    for _ in range(3):
        learner.update()
    torch.cuda.synchronize()
    warmup_s = time.perf_counter() - start
    torch.cuda.reset_peak_memory_stats()
    seconds = median(stretches(learner))
    peak = torch.cuda.max_memory_allocated() - before
    limit, images_per_second = peak_flops(torch.cuda.get_device_name()), trial.batch_size / seconds
    return Row(
        images_per_second=images_per_second,
        mfu=training_flops(trial, images=1) * images_per_second / limit if limit else None,
        peak_gib=peak / 2**30,
        modelled_gib=peak_bytes(trial, how) / 2**30,
        warmup_s=warmup_s,
        noise_share=noise_seconds(learner) / seconds,
    )


def in_mode(trial: TrialConfig, how: Fit, *, mode: str) -> Learner:
    """A learner whose kernels are eager or compiled, and started one by one or replayed."""
    trial = trial.model_copy(update={"compile": "compile" in mode, "graphs": "graphs" in mode})
    images = NoiseImages(max(512, trial.batch_size), size=trial.data.image_size, classes=CLASSES)
    return Learner(trial, images, workers=Workers(), fit=how)


def stretches(learner: Learner) -> Iterator[float]:
    """Seconds an update."""
    updates = 1
    while (seconds := timed(learner, updates)) < LEAST_S:
        updates = max(updates + 1, round(1.2 * updates * LEAST_S / max(seconds, 1e-3)))
    for _ in range(REPEATS):
        yield timed(learner, updates) / updates


def timed(learner: Learner, updates: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(updates):
        learner.update()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def noise_seconds(learner: Learner) -> float:
    """Seconds of drawing the noise of one update, by the device's own clock."""
    data, draws = learner.trial.data, learner._batches._draws
    shape = (data.channels, data.image_size, data.image_size)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    repeats = 50
    draws.normal(Purpose.NOISE, first=0, count=learner.fit.micro_batch, shape=shape)
    start.record()
    for i in range(repeats):
        draws.normal(Purpose.NOISE, first=i, count=learner.fit.micro_batch, shape=shape)
    end.record()
    end.synchronize()
    seconds: float = start.elapsed_time(end) / 1000 / repeats
    return seconds


if __name__ == "__main__":
    main()
