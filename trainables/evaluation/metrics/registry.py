"""The scores a trial can get: names, directions and units, with nothing that computes them.

To add one: register it here and compute it in `trainables.evaluation.score`.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A registered score. `direction` says which way is better; `unit` and `about` are for people."""

    name: str
    direction: Literal["minimize", "maximize"]
    unit: str
    about: str
    weights: Literal["evaluated", "raw"] = "evaluated"
    """Those that the evaluation names, or the trained ones as they are."""
    blind_to: frozenset[str] = frozenset()
    """Axes along which its values do not compare; `about` says why."""

    def better(self, a: float, b: float) -> bool:
        """Whether score a is strictly better than score b."""
        return a < b if self.direction == "minimize" else a > b


_SCORED = (
    Metric(
        "fd_efflite0_96",
        "minimize",
        "squared feature distance",
        "Frechet distance to the training split on EfficientNet-lite0 features at 96 px (224 px for images of 128 px and more)",
    ),
    Metric("fd_efflite0_96_heldout", "minimize", "squared feature distance", "the same against the held-out split"),
    Metric(
        "kid_efflite0_96",
        "minimize",
        "squared kernel distance",
        "kernel distance (unbiased) to the training split, same features",
    ),
    Metric(
        "heldout_v_error",
        "minimize",
        "mean squared velocity",
        "error of the predicted velocity on a fixed grid of held-out image, noise and t; says nothing along noise_scale, which "
        "scales the velocity itself, nor along t_eps_sample, sampling_steps, sampling_shift and guidance: nothing is sampled",
        blind_to=frozenset({"noise_scale", "t_eps_sample", "sampling_steps", "sampling_shift", "guidance"}),
    ),
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for scored in _SCORED
    for metric in (
        scored,
        replace(scored, name=f"{scored.name}_raw", about=f"{scored.about}; weights without averaging", weights="raw"),
    )
}

RUNG_METRIC = "heldout_v_error"
"""Measured along the way: it ranks right from the start, which a Frechet distance does not."""

VERDICT_METRICS = ("fd_efflite0_96", "kid_efflite0_96", "heldout_v_error")
"""Shown side by side; where those that can judge the axis disagree about two arms, the verdict is undecided."""
