"""How a sampler steps along dz/dt = v."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""v(z, t), [B, C, H, W] -> [B, C, H, W]."""


class Integrator(Protocol):
    """One rule. A sampler's last step is Euler's whatever the rule, so `after` is below 1."""

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float) -> Tensor:
        """z at the time `after` from z at t, [B, C, H, W]."""

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        """The times at which a step asks for the velocity, one pass of the network each."""


class Euler:
    """z + h v(z, t): order 1, one evaluation."""

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float) -> Tensor:
        return z + (after - t) * velocity(z, t)

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t,)


class Heun:
    """z + h (v(z, t) + v(z + h v(z, t), t + h)) / 2: order 2, two evaluations (arXiv 2206.00364, algorithm 1)."""

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float) -> Tensor:
        first = velocity(z, t)
        second = velocity(z + (after - t) * first, after)
        return z + (after - t) * 0.5 * (first + second)

    def visited(self, t: float, after: float) -> tuple[float, ...]:
        return (t, after)


EULER = Euler()
INTEGRATORS: dict[str, Integrator] = {
    "euler": EULER,
    "heun": Heun(),
}
"""By the names that `Sampling.sampler` allows."""
