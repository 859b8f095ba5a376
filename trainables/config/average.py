"""The running averages of the weights that a trial keeps, and how they decay, in closed form and without torch."""

import math
from typing import Annotated, Literal

from pydantic import Field

from trainables.config.fields import Fraction, Frozen, PositiveInt

RAW = "raw"
"""The name of the weights themselves where an average of them could stand."""

MODEL, OPTIMISER = "model", "optimiser"
"""A checkpoint's parts besides the averages."""
TARGET = "target"
"""The average that a method keeps for its own loss."""
RESERVED = frozenset({RAW, MODEL, OPTIMISER})
"""Names that no average may have."""


class _Average(Frozen):
    """A running average of the weights."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "ema"
    """What an evaluation calls it."""
    warmup: bool = True
    """Update k keeps min(b, (1 + k) / (10 + k)) of the average, so that a short trial is not scored on its initial weights."""


class DecayEma(_Average):
    """Each update keeps `decay` of the average."""

    kind: Literal["decay"] = "decay"
    decay: Fraction = 0.9999
    """Share of the average that an update keeps."""


class HalfLifeEma(_Average):
    """An update's share in the average halves every `images`, whatever the batch size."""

    kind: Literal["half_life"] = "half_life"
    images: PositiveInt
    """Images after which an update's share has halved."""


EmaConfig = Annotated[DecayEma | HalfLifeEma, Field(discriminator="kind")]


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


def part_of(weights: str) -> str:
    """The part of a checkpoint that holds an average, by its name, or the weights themselves."""
    return MODEL if weights == RAW else weights
