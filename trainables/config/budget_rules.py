"""Whether a trial's schedule, averages and rungs suit the images that it trains on."""

from collections.abc import Iterator, Sequence

from trainables.config.average import start_share
from trainables.config.fields import percent
from trainables.config.schedule import cosine_share
from trainables.config.trial import TrialConfig

LONG_WARMUP = 0.25
"""A warm-up that takes more of the budget than this is remarked on."""
UNFINISHED = 0.05
"""So is a cosine that ends further than this from its end."""
UNMOVED = 0.5
"""Above this share of its first weights an average says more about those than about training."""
TYPICAL_WARMUP = 20
"""The part of a budget that is proposed for a warm-up: a twentieth."""


def check_budget(trial: TrialConfig, *, images: int) -> None:
    """ValueError: the learning rate would never reach its value."""
    warmup = trial.optimiser.warmup
    if warmup > images:
        rule = "`warmup_images` must end within the trial's images"
        got = f"got {warmup:,} of {images:,}: the rate would end at {percent(images / warmup)} of its value"
        raise ValueError(f"{rule}, {got}; try {images // TYPICAL_WARMUP:,}, or train on more images")


def of_start(trial: TrialConfig) -> str:
    """What an average is of before training has moved it."""
    return "its parent's weights" if begins_trained(trial) else "initial weights"


def begins_trained(trial: TrialConfig) -> bool:
    """Whether all of its first weights are a parent's."""
    return trial.parent is not None and not trial.parent.parts


def budget_remarks(
    trial: TrialConfig, *, images: int, rungs: Sequence[int] = (), gates: Sequence[int] = (), averaged: bool = True
) -> Iterator[str]:
    """What a trial of so many images does not reach, each with the share that it reaches and a proposal.

    `averaged`: the rungs compare the first average; the weights themselves otherwise.
    """
    warmup = trial.optimiser.warmup
    if warmup > LONG_WARMUP * images:
        takes = f"the warm-up takes {percent(warmup / images)} of {images:,} images"
        yield f"{takes}; try warmup_images={images // TYPICAL_WARMUP}"
    yield from _cosine_remarks(trial, images=images)
    if early := [gate for gate in gates if gate < warmup]:
        rate = f"where the rate is at {percent(early[0] / warmup)} of its value"
        yield f"arms may stop at {early[0]:,} images, in the warm-up of {warmup:,}, {rate}; move first_rung behind it"
    if averaged and trial.ema:
        yield from _rung_remarks(trial, [rung for rung in rungs if rung < images])


def _cosine_remarks(trial: TrialConfig, *, images: int) -> Iterator[str]:
    schedule = trial.optimiser.schedule
    if schedule.kind == "cosine" and images > trial.optimiser.warmup:
        left = cosine_share(trial.optimiser, images=images)
        if left > schedule.final + UNFINISHED:
            ends = f"the cosine ends at {schedule.total_images:,} images and the trial at {images:,}"
            yield f"{ends}, with {percent(left)} of the rate left instead of {percent(schedule.final)}; leave total_images out"


def _rung_remarks(trial: TrialConfig, rungs: Sequence[int]) -> Iterator[str]:
    first, batch = trial.ema[0], trial.batch_size
    for rung in rungs:
        share = start_share(first, updates=rung // batch, batch_size=batch)
        if share > UNMOVED:
            held = f"the average {first.name}, still {percent(share)} {of_start(trial)}"
            yield f"the rung at {rung:,} images scores {held}; set its warmup: true, or lower its decay"
            return
