"""The stages of a path: what the network sees of an image on each straight line, and what its output means there.

The flow is one stage. In the others, with `x` the image as the stage has it, `U x` what the stage before has of it, at this
stage's size, and `e` noise, a stage leads from `b U x + (1 - b) e` at t = 0 to `c x + (1 - c) e` at t = 1; `v` is the second
minus the first. On the way the share of noise is `s = 1 - b - t (c - b)`. (PixelFlow, arXiv 2504.07963; neighbours of the
flow's maths: c = 1, b = 0.)
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import torch.nn.functional as F
from torch import Tensor

from trainables.config.diffusion import Target
from trainables.config.path import DiffusionPath, FlowPath, KarrasPath, StagedPath
from trainables.diffusion.blur import blurred
from trainables.diffusion.maths import convert, floored, noisy, per_image, target_of
from trainables.diffusion.noise_levels import CLOCK, DATA, snapped
from trainables.diffusion.stage_bounds import STEPS, clock, starts

Time = TypeVar("Time", Tensor, float)
GUIDANCE = (0.0, 1 / 6, 2 / 3, 1.0)
"""Shares of the guidance by stage, of PixelFlow's four; of another number of stages linear between."""


class Seen(NamedTuple):
    """What a network is given beside the class."""

    z: Tensor
    """[B, C, h, w]."""
    t: Tensor
    """The time that it is told, [B]."""


class Example(NamedTuple):
    """Images on the way through a stage, [B, C, h, w] each."""

    x: Tensor
    """Clean, as the stage has them."""
    e: Tensor
    """Their noise."""
    z: Tensor
    """On the line between the two."""
    t: Tensor
    """Where on it, [B]."""


class PathStage(Protocol):
    """One straight line of a path. It runs inside a compiled step: no branch on a tensor's values."""

    @property
    def guidance(self) -> float:
        """Share of the guidance that acts in it, 0 to 1."""

    def example(self, x: Tensor, e: Tensor, t: Tensor) -> Example:
        """Of whole images and their noise, [B, C, H, W], at times t [B] in the stage."""

    def told(self, t: Time) -> Time:
        """The time on the path, in [0, 1] which all stages share: guidance goes by it."""

    def seen(self, z: Tensor, t: Tensor, noise_scale: float | Tensor) -> Seen:
        """What the network is given of z at t [B]."""

    def truth(self, x: Tensor, e: Tensor, space: Target) -> Tensor:
        """The true output in a space, [B, C, h, w], of an example's x and e."""

    def convert(self, output: Tensor, z: Tensor, t: Tensor, *, source: Target, target: Target, t_eps: float | Tensor) -> Tensor:
        """What an output in one space says in another, [B, C, h, w]; `t_eps` clamps what is divided by."""

    def entered(self, z: Tensor, noise: Tensor) -> Tensor:
        """A sample at the start of the stage, of the one before's end z and standard noise [B, C, h, w] of this one's size."""


@dataclass(frozen=True)
class WholeFlow:
    """The one stage of the flow; see `maths`."""

    guidance: float = 1.0

    def example(self, x: Tensor, e: Tensor, t: Tensor) -> Example:
        return Example(x, e, noisy(x, e, t), t)

    def told(self, t: Time) -> Time:
        return t

    def seen(self, z: Tensor, t: Tensor, noise_scale: float | Tensor) -> Seen:
        return Seen(z, t)

    def truth(self, x: Tensor, e: Tensor, space: Target) -> Tensor:
        return target_of(x, e, space)

    def convert(self, output: Tensor, z: Tensor, t: Tensor, *, source: Target, target: Target, t_eps: float | Tensor) -> Tensor:
        return convert(output, z, t, source=source, target=target, t_eps=t_eps)

    def entered(self, z: Tensor, noise: Tensor) -> Tensor:
        return z


WHOLE = WholeFlow()


@dataclass(frozen=True)
class LevelledFlow:
    """The flow's line at EDM's noise levels, seen as EDM shows it: z_t / t is its x + sigma n, sigma = (1 - t) / t times the
    standard deviation of e."""

    path: KarrasPath
    guidance: float = 1.0

    def example(self, x: Tensor, e: Tensor, t: Tensor) -> Example:
        """At the level next to t."""
        t = snapped(t, self.path.levels)
        return Example(x, e, noisy(x, e, t), t)

    def told(self, t: Time) -> Time:
        return t

    def seen(self, z: Tensor, t: Tensor, noise_scale: float | Tensor) -> Seen:
        """z_t / t over sqrt(sigma^2 + 1/4), and 250 ln(sigma)."""
        noise = noise_scale * (1 - t)
        scale = (noise.square() + (DATA * t).square()).sqrt()
        return Seen(z / per_image(scale), CLOCK * (noise / t).log())

    def truth(self, x: Tensor, e: Tensor, space: Target) -> Tensor:
        return target_of(x, e, space)

    def convert(self, output: Tensor, z: Tensor, t: Tensor, *, source: Target, target: Target, t_eps: float | Tensor) -> Tensor:
        """As the flow's, without a clamp: no level is nearer to the image than the last."""
        return convert(output, z, t, source=source, target=target, t_eps=0.0)

    def entered(self, z: Tensor, noise: Tensor) -> Tensor:
        return z


@dataclass(frozen=True)
class ScaleStage:
    """One of several stages, which differ in what they have of an image: its size or its sharpness."""

    path: StagedPath
    number: int
    """From 0, the noisiest."""

    @property
    def start(self) -> float:
        """b, the image's share at t = 0."""
        return starts(self.path)[self.number]

    @property
    def end(self) -> float:
        """c, the image's share at t = 1."""
        return (self.number + 1) / self.path.stages

    @property
    def guidance(self) -> float:
        place = self.number / (self.path.stages - 1) * (len(GUIDANCE) - 1)
        below = min(int(place), len(GUIDANCE) - 2)
        return GUIDANCE[below] + (place - below) * (GUIDANCE[below + 1] - GUIDANCE[below])

    def example(self, x: Tensor, e: Tensor, t: Tensor) -> Example:
        x, e, share = self._clean(x), self._noise(e), per_image(t)
        return Example(x, e, share * self._at_end(x, e) + (1 - share) * self._at_start(x, e), t)

    def told(self, t: Time) -> Time:
        first, then = clock(self.path)[self.number : self.number + 2]
        # The last stage counts up to the clock's last step, and the others to before the next one's first.
        rate = (then - first) / (STEPS - 1 if self._halvings == 0 else STEPS)
        return first / STEPS + rate * t

    def seen(self, z: Tensor, t: Tensor, noise_scale: float | Tensor) -> Seen:
        return Seen(z, self.told(t))

    def truth(self, x: Tensor, e: Tensor, space: Target) -> Tensor:
        assert space != "eps", "no stage is trained so"
        return x if space == "x" else self._at_end(x, e) - self._at_start(x, e)

    def convert(self, output: Tensor, z: Tensor, t: Tensor, *, source: Target, target: Target, t_eps: float | Tensor) -> Tensor:
        """v = (c (1 - b) x - b (1 - c) U x - (c - b) z) / s."""
        if source == target:
            return output
        assert (source, target) == ("x", "v"), "no stage is trained so"
        b, c = self.start, self.end
        image = c * (1 - b) * output - b * (1 - c) * self._before(output) if b else c * output
        return (image - (c - b) * z) / floored(1 - b - (c - b) * per_image(t), t_eps)

    def entered(self, z: Tensor, noise: Tensor) -> Tensor:
        """a up(z) + a (1 - t0) / sqrt(-gamma) m, whose noise is white again: m has correlation gamma within 2 x 2 pixels."""
        if self.number == 0:
            return self._noise(z)
        if self.path.transform == "blur":
            return z
        gamma, began = self.path.gamma, self.number / self.path.stages
        alpha = self.start / began
        return alpha * doubled(z) + alpha * (1 - began) / math.sqrt(-gamma) * correlated(noise, gamma)

    def _at_start(self, x: Tensor, e: Tensor) -> Tensor:
        return self.start * self._before(x) + (1 - self.start) * e if self.number else e

    def _at_end(self, x: Tensor, e: Tensor) -> Tensor:
        return self.end * x + (1 - self.end) * e

    @property
    def _halvings(self) -> int:
        return self.path.stages - 1 - self.number

    def _clean(self, x: Tensor) -> Tensor:
        if self.path.transform == "blur":
            return blurred(x, variance=blur_variance(self._halvings))
        return halved(x, times=self._halvings)

    def _before(self, x: Tensor) -> Tensor:
        """U x."""
        if self.path.transform == "blur":
            more = blur_variance(self._halvings + 1) - blur_variance(self._halvings)
            return blurred(x, variance=more)
        return doubled(halved(x))

    def _noise(self, e: Tensor) -> Tensor:
        """White noise of this stage's size, of the whole image's."""
        if self.path.transform == "blur":
            return e
        if self.path.noise == "halved":
            return 2.0**self._halvings * halved(e, times=self._halvings)
        height, width = (side >> self._halvings for side in e.shape[-2:])
        return e[..., :height, :width]


def path_stages(path: DiffusionPath) -> tuple[PathStage, ...]:
    """The stages of a path, the noisiest first."""
    if isinstance(path, FlowPath):
        return (WHOLE,)
    if isinstance(path, KarrasPath):
        return (LevelledFlow(path),)
    return tuple(ScaleStage(path, number) for number in range(path.stages))


def blur_variance(halvings: int) -> float:
    """Of the Gaussian that stands for so many halvings: as wide as half of the pixels that they would join."""
    return 4.0**halvings / 4 if halvings else 0.0


def halved(x: Tensor, *, times: int = 1) -> Tensor:
    """Means over blocks of 2^times pixels a side: bilinear halvings, one after the other."""
    means: Tensor = F.avg_pool2d(x, 2**times) if times else x
    return means


def doubled(x: Tensor) -> Tensor:
    """Each pixel as 2 x 2."""
    twice: Tensor = x.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    return twice


def correlated(noise: Tensor, gamma: float) -> Tensor:
    """Standard noise made to correlate by gamma within each 2 x 2 pixels."""
    mean = doubled(halved(noise))
    return math.sqrt(1 - gamma) * (noise - mean) + math.sqrt(max(0.0, 1 + 3 * gamma)) * mean
