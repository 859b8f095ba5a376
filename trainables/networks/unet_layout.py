"""The blocks of a U-Net in the order in which they compute (ADM, arXiv 2105.05233). Free of torch."""

from typing import Literal, NamedTuple

from trainables.config.trunks import UnetSizes

Change = Literal["none", "down", "up"]


class UnetStep(NamedTuple):
    """A residual block with what stands around it, or a single convolution that halves or doubles the side."""

    before: int
    """Channels that come in from the step before."""
    skip: int
    """Channels that join them from the way down; 0 is none."""
    width: int
    """Channels that go out."""
    side: int
    """Pixels along the image that goes out."""
    change: Change = "none"
    residual: bool = True
    """Whether it is a residual block."""
    attends: bool = False
    """Whether attention follows."""

    @property
    def into(self) -> int:
        return self.before + self.skip


class UnetLayout(NamedTuple):
    """The steps on the way down, at the bottom and on the way up."""

    down: tuple[UnetStep, ...]
    """Each goes into the step on the way up that mirrors it, and so does the first convolution."""
    middle: tuple[UnetStep, ...]
    up: tuple[UnetStep, ...]

    @property
    def steps(self) -> tuple[UnetStep, ...]:
        return (*self.down, *self.middle, *self.up)


def layout(trunk: UnetSizes, *, side: int) -> UnetLayout:
    """The steps of a U-Net on images of this side."""
    down = _down(trunk, side)
    bottom, width = side >> trunk.halvings, down[-1].width if down else trunk.width
    middle = tuple(UnetStep(width, 0, width, bottom, attends=attends) for attends in (True, False))
    return UnetLayout(down, middle, _up(trunk, side, [trunk.width, *(step.width for step in down)]))


def _down(trunk: UnetSizes, side: int) -> tuple[UnetStep, ...]:
    steps: list[UnetStep] = []
    width, residual = trunk.width, trunk.resample == "blocks"
    for level, multiplier in enumerate(trunk.multipliers):
        for _ in range(trunk.blocks):
            step = UnetStep(width, 0, trunk.width * multiplier, side >> level, attends=2**level in trunk.attention)
            steps.append(step)
            width = step.width
        if level < trunk.halvings:
            steps.append(UnetStep(width, 0, width, side >> (level + 1), "down", residual))
    return tuple(steps)


def _up(trunk: UnetSizes, side: int, skips: list[int]) -> tuple[UnetStep, ...]:
    """`skips`: channels of the first convolution and of each step on the way down."""
    steps: list[UnetStep] = []
    width, residual = skips[-1], trunk.resample == "blocks"
    for level, multiplier in reversed([*enumerate(trunk.multipliers)]):
        for _ in range(trunk.blocks + 1):
            own, attends = trunk.width * multiplier, 2**level in trunk.attention
            steps.append(UnetStep(width, skips.pop(), own, side >> level, attends=attends))
            width = own
        if level:
            steps.append(UnetStep(width, 0, width, side >> (level - 1), "up", residual))
    return tuple(steps)
