"""How arms learned: a metric's mean over seeds at each rung, against images and against training FLOPs. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.records import RungRow
from jit_sweep.results.arms import Arm
from jit_sweep.statistics.student_t import mean, sample_sd
from search_spaces.axis import AxisValue
from trainables.networks.cost import training_flops

TrialValues = Mapping[str, Mapping[int, float]]
"""A metric's value at each rung, by trial and images."""


class Point(NamedTuple):
    """A rung of an arm."""

    images: int
    flops: int
    """Of training one of its trials so far, with those of earlier stages that count."""
    mean: float
    sd: float | None
    """Over seeds; None of one."""
    n: int
    """Seeds with a value here."""


@dataclass(frozen=True)
class Curve:
    """An arm's way by one metric."""

    metric: str
    arm: Mapping[str, AxisValue]
    label: str
    points: tuple[Point, ...]
    """By images; never empty."""


def values_of(rungs: Sequence[RungRow], metric: str) -> TrialValues:
    """One metric's values by trial and images; a value that was measured twice counts as it was last."""
    values: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for row in rungs:
        if row.name == metric:
            values[row.trial_id][row.images] = row.value
    return values


def metrics_on_the_way(rungs: Sequence[RungRow]) -> list[str]:
    """The metrics that rungs have measured, in the order in which they first came."""
    return list(dict.fromkeys(row.name for row in rungs))


def curves(arms: Sequence[Arm], values: TrialValues, *, metric: str) -> list[Curve]:
    """A curve for each arm of which a rung was measured, in the order of the arms."""
    drawn = ((arm, _points(arm, values)) for arm in arms)
    return [Curve(metric, arm.arm, arm.label, points) for arm, points in drawn if points]


def _points(arm: Arm, values: TrialValues) -> tuple[Point, ...]:
    trial = arm.trials[0].entry.trial
    of_seeds = [values.get(trial.entry.trial_id, {}) for trial in arm.trials]
    rungs = sorted({images for seen in of_seeds for images in seen if images <= arm.images})
    points = []
    for images in rungs:
        there = [seen[images] for seen in of_seeds if images in seen]
        flops = arm.earlier_flops + training_flops(trial, images=images)
        points.append(Point(images, flops, mean(there), sample_sd(there), len(there)))
    return tuple(points)
