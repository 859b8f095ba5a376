"""How much an arm takes to become good enough: images, FLOPs and hours until a metric first reaches a goal. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import NamedTuple

from jit_sweep.report.curves import TrialValues
from jit_sweep.results.arms import Arm, TrialResult
from trainables.evaluation.metrics.registry import metric_of
from trainables.networks.cost import training_flops


class SeedRange(NamedTuple):
    """The middle seed, with the first and the last one; infinite where a seed never got there.

    Of n seeds, first to last holds the median of all seeds with probability 1 - 2^(1-n): 97 % of six, 75 % of three.
    """

    middle: float
    first: float
    last: float


@dataclass(frozen=True)
class TimeToQuality:
    """What an arm took to reach a goal."""

    label: str
    goal: float
    seeds: int
    reached: int
    """Seeds that got there within their budget."""
    images: SeedRange
    flops: SeedRange
    hours: SeedRange | None
    """Of training, without evaluation; None where the time of a seed that got there is not known."""


def goal_of(arms: Sequence[Arm], values: TrialValues, *, metric: str) -> float | None:
    """The value that every seed of half of the sound arms reaches by its end; None where no arm was measured.

    Arms with a collapsed or lost seed are not sound.
    """
    loss = metric_of(metric).loss
    sound = [arm for arm in arms if not (arm.collapsed or arm.lost)]
    worst = sorted((max(lasts, key=loss) for arm in sound if (lasts := _lasts(arm, values))), key=loss)
    return worst[len(worst) // 2] if worst else None


def times_to_quality(
    arms: Sequence[Arm], values: TrialValues, *, metric: str, goal: float, train_s: Mapping[str, float]
) -> list[TimeToQuality]:
    """A row for each arm that was measured on the way, the quickest by FLOPs first.

    `train_s`: seconds of training, by trial, for those that are known. A goal counts as reached at the first rung at which it
    is met, which is an upper bound.
    """
    rows = [_row(arm, values, metric=metric, goal=goal, train_s=train_s) for arm in arms if _lasts(arm, values)]
    return sorted(rows, key=lambda row: (row.flops.middle, row.label))


def _row(arm: Arm, values: TrialValues, *, metric: str, goal: float, train_s: Mapping[str, float]) -> TimeToQuality:
    config = arm.trials[0].entry.trial
    reached = [(trial, _reached(values.get(trial.entry.trial_id, {}), metric=metric, goal=goal)) for trial in arm.trials]
    images = [there if there is not None else math.inf for _, there in reached]
    hours = [_hours(trial, there, train_s) for trial, there in reached]
    known = [each for each in hours if each is not None]
    return TimeToQuality(
        label=arm.label,
        goal=goal,
        seeds=len(images),
        reached=sum(map(math.isfinite, images)),
        images=_range(images),
        flops=_range([training_flops(config, images=int(each)) if math.isfinite(each) else math.inf for each in images]),
        hours=_range(known) if len(known) == len(hours) else None,
    )


def _reached(seen: Mapping[int, float], *, metric: str, goal: float) -> int | None:
    """The first rung that is as good as the goal."""
    loss = metric_of(metric).loss
    return next((images for images in sorted(seen) if loss(seen[images]) <= loss(goal)), None)


def _hours(trial: TrialResult, images: int | None, train_s: Mapping[str, float]) -> float | None:
    """Hours of training up to an image count, at the trial's own mean speed; None where that is not known."""
    if images is None:
        return math.inf
    seconds = train_s.get(trial.entry.trial_id)
    return None if seconds is None else seconds * images / trial.entry.images / 3600


def _range(values: Sequence[float]) -> SeedRange:
    return SeedRange(median_high(values), min(values), max(values))


def _lasts(arm: Arm, values: TrialValues) -> list[float]:
    """The last value of each seed that was measured."""
    return [seen[max(seen)] for trial in arm.trials if (seen := values.get(trial.entry.trial_id))]
