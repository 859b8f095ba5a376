"""How much memory training takes, in closed form and without torch, and which micro-batch fits."""

from typing import NamedTuple

from trainables.config.method import AutoencoderMethod
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.parts.projector import teacher_parameters, teacher_working_bytes
from trainables.networks.registry import parts_of
from trainables.networks.sizes import BF16, FP32, image_bytes

AROUND_IMAGES = 7
"""As many images as a batch and its loss keep of each: images, noise, noisy images, targets, errors."""
SATURATING_TOKENS = 16_384
"""Tokens in a micro-batch that keep a GPU busy: below them recomputing costs less than a smaller micro-batch."""
HEADROOM = 0.9
"""Share of the memory that the model may fill: allocators fragment, kernels want workspace."""


class Infeasible(ValueError):
    """Not even one image fits."""


class Fit(NamedTuple):
    """How a worker goes through its share of a batch."""

    micro_batch: int
    activation_checkpointing: bool


def fit(
    trial: TrialConfig,
    *,
    share: int,
    memory_bytes: int | None,
    workers: int = 1,
    micro_batch: int | None = None,
    activation_checkpointing: bool | None = None,
) -> Fit:
    """The largest micro-batch that divides a worker's share and fits; activations are recomputed only where keeping them would
    leave a micro-batch too small to keep a GPU busy. `micro_batch` and `activation_checkpointing`, where set, are not changed;
    `memory_bytes` None is no limit.

    Infeasible: not even the smallest choice fits; the message has its bytes. ValueError: the `micro_batch` that is set does not
    hold whole units of the trial.
    """
    unit = trial.unit.images
    if micro_batch and min(micro_batch, share) % unit:
        rule = f"`micro_batch` must hold {trial.unit.held}"
        raise ValueError(f"{rule}, got {micro_batch}, {trial.unit}; try {max(1, micro_batch // unit) * unit}")
    if memory_bytes is None:
        return Fit(min(micro_batch or share, share), activation_checkpointing=bool(activation_checkpointing))
    sizes = [min(micro_batch, share)] if micro_batch else _sizes(share, unit)
    # Masks of dropout that are drawn again cannot be replayed.
    free = (False,) if trial.graphs and trial.model.drops else (False, True)
    ways = free if activation_checkpointing is None else (activation_checkpointing,)
    limit = HEADROOM * memory_bytes
    fitting = [Fit(size, way) for way in ways for size in sizes if peak_bytes(trial, Fit(size, way), workers=workers) <= limit]
    if not fitting:
        least = peak_bytes(trial, Fit(sizes[-1], ways[-1]), workers=workers)
        raise Infeasible(_too_large(sizes[-1], ways[-1], least=least, memory_bytes=memory_bytes))
    largest = max(fitting, key=lambda choice: (choice.micro_batch, not choice.activation_checkpointing))
    kept = next((choice for choice in fitting if not choice.activation_checkpointing), largest)
    busy = kept.micro_batch * trial.grid**2 >= SATURATING_TOKENS
    return kept if busy or kept.micro_batch == largest.micro_batch else largest


def _sizes(share: int, unit: int) -> list[int]:
    """Micro-batches of whole units that divide a share, the largest first."""
    return [count for count in range(share, 0, -1) if share % count == 0 and count % unit == 0]


def _too_large(images: int, recomputed: bool, *, least: int, memory_bytes: int) -> str:
    subject = f"{images} images at once" if images > 1 else "one image"
    rule = f"{subject} must fit a worker's memory{', with its activations recomputed' if recomputed else ''}"
    gib = f"{least / HEADROOM / 2**30:.3g} GiB of {memory_bytes / 2**30:.3g}"
    return f"{rule}, got {gib}; try a larger patch_size, a smaller model, attention=sdpa or more `memory_gib`"


def peak_bytes(trial: TrialConfig, fit: Fit, *, workers: int = 1) -> int:
    """Most bytes at once in an update: what stays over updates, and what the backward pass needs and works with, or what it
    leaves: one compiled whole hands over a micro-batch's gradients all at once, to be added to those that are there."""
    around, views = AROUND_IMAGES * image_bytes(trial), trial.stage_views
    parts = [part for view in views for part in parts_of(view).trained]
    kept = sum(part.activation_bytes(recomputed=fit.activation_checkpointing) for part in parts) // len(views)
    handed_over = FP32 * parameter_count(trial) if trial.compile is True else 0
    taught = max((teacher_working_bytes(teacher) for teacher in trial.teachers), default=0)
    return state_bytes(trial, workers=workers) + max(fit.micro_batch * max(around + kept, taught), handed_over)


def state_bytes(trial: TrialConfig, *, workers: int = 1) -> int:
    """Weights, gradients, AdamW's two moments and the averages; in bf16 also the weights' copies in that precision, and the
    gradients' where several workers add theirs up in it. A frozen teacher's weights besides, and in bf16 the copies of those
    that a gradient flows back through."""
    rounded = (trial.precision == "bf16") + (workers > 1 and trial.gradient_sum == "bf16")
    teachers = FP32 * sum(teacher_parameters(teacher) for teacher in trial.teachers)
    seen = trial.method.perceptual if isinstance(trial.method, AutoencoderMethod) else None
    if seen is not None and trial.precision == "bf16":
        teachers += BF16 * teacher_parameters(seen.teacher)
    return ((4 + len(trial.averages)) * FP32 + rounded * BF16) * parameter_count(trial) + teachers
