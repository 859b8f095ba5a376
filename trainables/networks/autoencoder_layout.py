"""The steps of an autoencoder in the order in which they compute (latent diffusion, arXiv 2112.10752). Free of torch."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from trainables.config.autoencoder import AutoencoderTrunk


class CodingStep(NamedTuple):
    """A residual block, an attention, or a convolution that halves or doubles the side."""

    kind: Literal["block", "attention", "down", "up"]
    into: int
    """Channels that come in."""
    width: int
    """Channels that go out."""
    side: int
    """Pixels along the image that goes out."""


def encoder_steps(trunk: AutoencoderTrunk, *, side: int) -> tuple[CodingStep, ...]:
    """From the first convolution's `width` channels to the code's side."""
    steps: list[CodingStep] = []
    width = trunk.width
    for level, multiplier in enumerate(trunk.multipliers):
        own = trunk.width * multiplier
        steps += _level(trunk, level, width, own, blocks=trunk.blocks, side=side)
        width = own
        if level < trunk.halvings:
            steps.append(CodingStep("down", width, width, side >> (level + 1)))
    return (*steps, *_middle(width, side >> trunk.halvings))


def decoder_steps(trunk: AutoencoderTrunk, *, side: int) -> tuple[CodingStep, ...]:
    """From the last level's channels at the code's side to `width` channels at the image's."""
    width = trunk.width * trunk.multipliers[-1]
    steps: list[CodingStep] = [*_middle(width, side >> trunk.halvings)]
    for level, multiplier in reversed([*enumerate(trunk.multipliers)]):
        own = trunk.width * multiplier
        steps += _level(trunk, level, width, own, blocks=trunk.blocks + 1, side=side)
        width = own
        if level:
            steps.append(CodingStep("up", width, width, side >> (level - 1)))
    return tuple(steps)


def _level(trunk: AutoencoderTrunk, level: int, into: int, width: int, *, blocks: int, side: int) -> Iterator[CodingStep]:
    for number in range(blocks):
        yield CodingStep("block", width if number else into, width, side >> level)
        if 2**level in trunk.attention:
            yield CodingStep("attention", width, width, side >> level)


def _middle(width: int, side: int) -> tuple[CodingStep, ...]:
    block = CodingStep("block", width, width, side)
    return (block, CodingStep("attention", width, width, side), block)
