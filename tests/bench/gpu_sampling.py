"""Rows of the sampling table: images a second of 50 Heun steps with guidance, and what the features of a score add."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tests.bench.gpu_modes import OFFICIAL, Case, filled, filled_official, in_mode, trial_of
from tests.bench.gpu_training import fresh, wait
from tests.bench.official_step import two_pass_heun
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data.pixels import to_pixels
from trainables.diffusion.sampler import passes
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.generate import generate

HEADER = ["case", "mode", "tokens", "images", "passes an image", "img/s", "features img/s", "features' share", "warm-up"]
EVALUATION = EvaluationConfig(steps=50, sampler="heun", guidance=3.0, interval=(0.1, 1.0))
LEAST_IMAGES, LEAST_TOKENS = 64, 16_384
"""Drawn at once, where memory holds them."""

Draw = Callable[[EvaluationConfig], Tensor]
"""Draws uint8 images [n, C, H, W]."""


def cells(
    case: Case, mode: str, *, attention: str, device: str = "cuda", evaluation: EvaluationConfig = EVALUATION
) -> list[list[str]]:
    """One row: one drawing of a batch, the noise included, and of its features. ValueError: sampling is not compiled."""
    trial = in_mode(trial_of(case, device=device, attention=attention), mode)
    if trial.compile:
        raise ValueError("sampling is not compiled; see the mode without it")
    fresh(device)
    count = min(images_at_once(trial, device=device), max(LEAST_IMAGES, LEAST_TOKENS // trial.grid**2))
    labels = torch.arange(count) % trial.data.num_classes
    draw = official_draw(trial, labels) if mode == OFFICIAL else our_draw(trial, labels)
    warmup_s = seconds(partial(draw, evaluation.model_copy(update={"steps": 3})), device)
    draw_s = seconds(partial(draw, evaluation), device)
    seen = 2 * (2 * evaluation.steps - 1) if mode == OFFICIAL else passes(evaluation)
    features = features_cells(draw(evaluation.model_copy(update={"steps": 2})), draw_s, device)
    return [[str(trial.grid**2), str(count), str(seen), f"{count / draw_s:.2f}", *features, f"{warmup_s:.1f} s"]]


def our_draw(trial: TrialConfig, labels: Tensor) -> Draw:
    """The trainer's own sampler."""
    network = filled(trial)
    return lambda evaluation: generate(network, trial, evaluation, labels)


def official_draw(trial: TrialConfig, labels: Tensor, *, compiled: bool = True) -> Draw:
    """Two passes at every t through the compiled official network."""
    network = filled_official(trial, compiled=compiled).eval()
    y, size = labels.to(trial.device), trial.data.image_size

    def draw(evaluation: EvaluationConfig) -> Tensor:
        start = torch.randn(len(y), trial.data.channels, size, size, device=y.device)
        with torch.autocast(y.device.type, torch.bfloat16, enabled=trial.precision == "bf16"):
            return to_pixels(two_pass_heun(network, start, y, evaluation=evaluation).float())

    return draw


def features_cells(images: Tensor, draw_s: float, device: str) -> list[str]:
    """Images a second of every extractor together, and its share of drawing and extracting."""
    try:
        from trainables.evaluation.score import extractors_used  # needs what the machine with the GPU may lack

        networks = [*extractors_used().values()]
    except ImportError as missing:
        return [f"no {missing.name}", "-"]
    for network in networks:
        network.features(images)  # warms up
    features_s = sum(seconds(partial(network.features, images), device) for network in networks)
    return [f"{len(images) / features_s:.0f}", f"{100 * features_s / (features_s + draw_s):.1f} %"]


def seconds(work: Callable[[], object], device: str) -> float:
    """Until the device has done it."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start
