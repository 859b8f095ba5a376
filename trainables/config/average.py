"""How running averages of the weights decay, in closed form and without torch."""

import math

from trainables.config.trial import DecayEma, EmaConfig


def decay_of(update: int, average: EmaConfig, *, batch_size: int) -> float:
    """b_k = min(b, (1 + k) / (10 + k)) of update k = 0, 1, ...; b without warm-up, as the official JiT code has it."""
    keep = decay(average, batch_size=batch_size)
    return min(keep, (1 + update) / (10 + update)) if average.warmup else keep


def decay(average: EmaConfig, *, batch_size: int) -> float:
    """b, what an update keeps after the warm-up. A half-life of h images makes b = 2^(-batch_size / h)."""
    return average.decay if isinstance(average, DecayEma) else 0.5 ** (batch_size / average.images)


def start_share(average: EmaConfig, *, updates: int, batch_size: int) -> float:
    """The weight that the first weights still have in an average, from 0 to 1: the product of b_k over the updates.

    Over a warm-up of m updates it is 9! m! / (m + 9)!.
    """
    keep = decay(average, batch_size=batch_size)
    warming = min(updates, _warming(keep)) if average.warmup else 0
    ramp = math.exp(math.lgamma(10) + math.lgamma(warming + 1) - math.lgamma(warming + 10))
    return ramp * keep ** (updates - warming)


def _warming(keep: float) -> int:
    """Updates k whose (1 + k) / (10 + k) is below b."""
    return max(0, math.ceil((10 * keep - 1) / (1 - keep)))
