"""What is left of the learning rate, in closed form and without torch."""

import math

from trainables.config.optimiser import Cosine, OptimiserConfig


def cosine_share(config: OptimiserConfig, *, images: int) -> float:
    """final + (1 - final) (1 + cos(pi u)) / 2 with u the share of the way from the warm-up to the end (SGDR, 1608.03983);
    1 of a constant rate."""
    schedule = config.schedule
    if not isinstance(schedule, Cosine):
        return 1.0
    assert schedule.total_images is not None, "a trial's cosine has its end"
    way = min(1.0, (images - config.warmup) / (schedule.total_images - config.warmup))
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * way))
