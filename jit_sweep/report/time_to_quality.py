"""How much an arm takes to become good enough: images, FLOPs and hours until a metric first reaches a goal. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import NamedTuple

from jit_sweep.budget.spending import HOUR_S
from jit_sweep.report.curves import TrialValues
from jit_sweep.results.arms import Arm, TrialResult
from trainables.evaluation.metrics.registry import metric_of
from trainables.networks.cost import training_flops


class SeedRange(NamedTuple):
    """The middle seed, with the first and the last one; infinite where a seed never got there: it is censored at its end.

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

    Arms with a collapsed or lost seed are not sound, and those that train have no end yet.
    """
    loss = metric_of(metric).loss
    sound = [arm for arm in arms if not (arm.collapsed or arm.lost or arm.unfinished)]
    worst = sorted((max(lasts, key=loss) for arm in sound if (lasts := _lasts(arm, values))), key=loss)
    return worst[len(worst) // 2] if worst else None


def times_to_quality(
    arms: Sequence[Arm], values: TrialValues, *, metric: str, goal: float, image_s: Mapping[str, float]
) -> list[TimeToQuality]:
    """A row for each arm of which a seed has ended and was measured on the way, the quickest by FLOPs first. Seeds that may go
    on are not counted: of them nobody knows yet whether they will get there.

    `image_s`: seconds of training for an image, by trial, for those that are known. A goal counts as reached at the first rung
    at which it is met, which is an upper bound.
    """
    rows = [_row(arm, values, metric=metric, goal=goal, image_s=image_s) for arm in arms if _lasts(arm, values)]
    return sorted(rows, key=lambda row: (row.flops.middle, row.label))


def _row(arm: Arm, values: TrialValues, *, metric: str, goal: float, image_s: Mapping[str, float]) -> TimeToQuality:
    reached = [(trial, _reached(values.get(trial.entry.trial_id, {}), metric=metric, goal=goal)) for trial in _ended(arm)]
    images = [there if there is not None else math.inf for _, there in reached]
    hours = [_hours(trial, there, image_s) for trial, there in reached]
    known = [each for each in hours if each is not None]
    return TimeToQuality(
        label=arm.label,
        goal=goal,
        seeds=len(images),
        reached=sum(map(math.isfinite, images)),
        images=_range(images),
        flops=_range([_flops(arm, each) for each in images]),
        hours=_range(known) if len(known) == len(hours) else None,
    )


def _flops(arm: Arm, images: float) -> float:
    """Of training up to an image count, with those of earlier stages that count."""
    if math.isinf(images):
        return math.inf
    return arm.earlier_flops + training_flops(arm.trials[0].entry.trial, images=int(images))


def _reached(seen: Mapping[int, float], *, metric: str, goal: float) -> int | None:
    """The first rung that is as good as the goal."""
    loss = metric_of(metric).loss
    return next((images for images in sorted(seen) if loss(seen[images]) <= loss(goal)), None)


def _hours(trial: TrialResult, images: int | None, image_s: Mapping[str, float]) -> float | None:
    """Hours of training up to an image count, at the trial's own mean speed; None where that is not known."""
    if images is None:
        return math.inf
    seconds = image_s.get(trial.entry.trial_id)
    return None if seconds is None else seconds * images / HOUR_S


def _ended(arm: Arm) -> list[TrialResult]:
    return [trial for trial in arm.trials if not trial.unfinished]


def _range(values: Sequence[float]) -> SeedRange:
    return SeedRange(median_high(values), min(values), max(values))


def _lasts(arm: Arm, values: TrialValues) -> list[float]:
    """The last value of each seed that has ended and was measured."""
    return [seen[max(seen)] for trial in _ended(arm) if (seen := values.get(trial.entry.trial_id))]
