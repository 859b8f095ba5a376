"""How a sampler steps along dz/dt = v, of images or of numbers. Free of torch."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeVar

from trainables.config.evaluation import Sampling
from trainables.config.path import DiffusionPath, FlowPath, KarrasPath
from trainables.diffusion.karras_grid import sigmas

if TYPE_CHECKING:
    from torch import Tensor

LAST = 0.999
"""Where the last step within a stage begins."""
Z = TypeVar("Z", "Tensor", float)
Velocity = Callable[[Z, float], Z]
"""v(z, t), [B, C, H, W] -> [B, C, H, W]."""


class Integrator(Protocol):
    """One rule. A sampler's last step is Euler's whatever the rule, so `after` is below 1."""

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        """z at the time `after` from z at t, [B, C, H, W]."""

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        """The times at which a step asks for the velocity, one pass of the network each."""


class Euler:
    """z + h v(z, t): order 1, one evaluation."""

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        return z + (after - t) * velocity(z, t)

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t,)


class Heun:
    """z + h (v(z, t) + v(z + h v(z, t), t + h)) / 2: order 2, two evaluations (arXiv 2206.00364, algorithm 1)."""

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        first = velocity(z, t)
        second = velocity(z + (after - t) * first, after)
        return z + (after - t) * 0.5 * (first + second)

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t, after)


class NoiseHeun:
    """Heun's rule in sigma = (1 - t) / t, of z / t, whose slope is the noise z - t v (arXiv 2206.00364, algorithm 1); t > 0.

    Euler's in sigma is the one in t.
    """

    def step(self, velocity: Velocity[Z], z: Z, t: float, after: float) -> Z:
        began, change = z / t, (1 - after) / after - (1 - t) / t
        first = z - t * velocity(z, t)
        reached = after * (began + change * first)
        second = reached - after * velocity(reached, after)
        return after * (began + change * 0.5 * (first + second))

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t, after)


EULER = Euler()
INTEGRATORS: dict[str, Integrator] = {
    "euler": EULER,
    "heun": Heun(),
}
"""By the names that `Sampling.sampler` allows."""
IN_SIGMA: dict[str, Integrator] = {
    "heun": NoiseHeun(),
}
"""Those of a path of noise levels that are others there."""


def time_grid(evaluation: Sampling) -> list[float]:
    """The steps + 1 times t = s / (s + (1 - s) k) of s = i / steps under shift k, from 0 to 1, both exact.

    In sigma = 1 - t this is SD3's sigma' = k sigma / (1 + (k - 1) sigma) (arXiv 2403.03206, equation 23): its alpha is k.
    """
    steps = evaluation.steps
    # Multiplied through by steps, so that k = 1 gives i / steps to the last bit.
    return [i / (i + (steps - i) * evaluation.shift) for i in range(steps + 1)]


Step = tuple[Integrator, float, float]
"""Its rule, and the times that it leads from and to."""


def steps_of(evaluation: Sampling) -> Iterator[Step]:
    """The steps of the flow; the last is Euler's."""
    return _ruled(time_grid(evaluation), evaluation)


def stage_steps(evaluation: Sampling, path: DiffusionPath) -> list[list[Step]]:
    """The steps in each stage of a path, which has an equal share of them; the last stages have those that are over."""
    if isinstance(path, FlowPath):
        return [list(steps_of(evaluation))]
    if isinstance(path, KarrasPath):
        return [list(_ruled(level_grid(evaluation), evaluation, rules={**INTEGRATORS, **IN_SIGMA}))]
    even, over = divmod(evaluation.steps, path.stages)
    counts = [even + (number >= path.stages - over) for number in range(path.stages)]
    return [list(_ruled(stage_grid(count, shift=evaluation.shift), evaluation)) for count in counts]


def level_grid(evaluation: Sampling) -> list[float]:
    """The times of EDM's levels, one a step, and then 1; the shift multiplies each level's sigma, as it does the flow's."""
    return [*(1 / (1 + evaluation.shift * sigma) for sigma in sigmas(evaluation.steps)), 1.0]


def stage_grid(steps: int, *, shift: float) -> list[float]:
    """Times from 0 to 0.999 at equal distances under the shift, and then 1 (PixelFlow)."""
    evenly = [LAST * step / max(1, steps - 1) for step in range(steps)]
    return [*(s / (s + (1 - s) * shift) for s in evenly), 1.0]


def _ruled(times: list[float], evaluation: Sampling, *, rules: Mapping[str, Integrator] = INTEGRATORS) -> Iterator[Step]:
    for t, after in pairwise(times):
        yield (EULER if after == 1.0 else rules[evaluation.sampler]), t, after
