"""What a sweep has spent of its budget, and whether another trial may begin. Pure functions of the ledger's rows.

Images count as often as they were trained on. A trial spends its devices' time from its start to its end, at work or not. Wall
hours are those in which at least one trial was under way: neither the time between two runs of a sweep nor a wait for a cluster
counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.budget.costs import HOUR_S, held_s, images_before, key_of
from jit_sweep.ledger.records import AttemptRow
from jit_sweep.spec.sweep import Budget
from trainables.config.shape import SpeedShape, speed_shape
from trainables.config.trial import TrialConfig


@dataclass(frozen=True)
class Spent:
    """What a sweep has used up."""

    images: int = 0
    device_hours: float = 0.0
    wall_hours: float = 0.0
    trials: int = 0
    """Trials that have begun."""


@dataclass(frozen=True)
class Need:
    """What trials still need to their ends; 0 hours where nobody knows how fast they train."""

    images: int = 0
    device_hours: float = 0.0
    wall_hours: float = 0.0
    """Of the longest of them."""


def spent(sweep: str, attempts: Sequence[AttemptRow], *, devices: float, now: float) -> Spent:
    """What a running sweep has spent by `now`. `attempts`: of all sweeps at this sweep's trials."""
    before = images_before(attempts)
    own = [attempt for attempt in attempts if attempt.sweep == sweep]
    return Spent(
        images=sum(max(0, attempt.images - before[key_of(attempt)]) for attempt in own),
        device_hours=sum(held_s(attempt, now=now) for attempt in own) * devices / HOUR_S,
        wall_hours=_covered_s((attempt.started_at, attempt.started_at + held_s(attempt, now=now)) for attempt in own) / HOUR_S,
        trials=len({attempt.trial_id for attempt in own}),
    )


def reserved(
    sweep: str,
    attempts: Sequence[AttemptRow],
    *,
    trials: Mapping[str, TrialConfig],
    speeds: Mapping[SpeedShape, float],
    devices: float,
) -> Need:
    """What the sweep's running trials still need. `trials`: those under way by id; `speeds` as of `speeds`."""
    running = [attempt for attempt in attempts if attempt.sweep == sweep and attempt.outcome is None]
    return together(
        [need(trials[a.trial_id], images=max(0, a.target_images - a.images), speeds=speeds, devices=devices) for a in running]
    )


def together(needs: Sequence[Need]) -> Need:
    """What trials beside each other need."""
    return Need(
        images=sum(each.images for each in needs),
        device_hours=sum(each.device_hours for each in needs),
        wall_hours=max((each.wall_hours for each in needs), default=0.0),
    )


def need(trial: TrialConfig, *, images: int, speeds: Mapping[SpeedShape, float], devices: float) -> Need:
    """What a trial needs to train on so many more images."""
    speed = speeds.get(speed_shape(trial))
    hours = images / speed / HOUR_S if speed else 0.0
    return Need(images, hours * devices, hours)


def speeds(attempts: Sequence[AttemptRow], *, trials: Mapping[str, TrialConfig]) -> dict[SpeedShape, float]:
    """Images a second by shape: over whole attempts, evaluation and all, where one has ended; else as running ones report."""
    before = images_before(attempts)
    reports: defaultdict[SpeedShape, list[float]] = defaultdict(list)
    wholes: defaultdict[SpeedShape, list[tuple[int, float]]] = defaultdict(list)
    for attempt in (attempt for attempt in attempts if attempt.trial_id in trials):
        shape, trained = speed_shape(trials[attempt.trial_id]), attempt.images - before[key_of(attempt)]
        seconds = held_s(attempt, now=None)
        if attempt.outcome == "done" and trained > 0 and seconds > 0:
            wholes[shape].append((trained, seconds))
        elif attempt.images_per_second:
            reports[shape].append(attempt.images_per_second)
    means = {shape: sum(told) / len(told) for shape, told in reports.items()}
    return means | {shape: sum(n for n, _ in ended) / sum(s for _, s in ended) for shape, ended in wholes.items()}


def refusal(
    budget: Budget,
    spent: Spent,
    reserved: Need,
    *,
    next_images: int,
    next_hours: float,
    next_wall_hours: float = 0.0,
    has_begun: bool = False,
) -> str:
    """Why the next trial may not begin; empty where it may.

    Args:
        next_images, next_hours, next_wall_hours: what the next trial needs; 0 hours where that is not known.
        has_begun: it goes on, and so counts among the trials already.
    """
    if budget.trials is not None and not has_begun and spent.trials >= budget.trials:
        return f"`budget.trials` is {budget.trials:,}: {spent.trials:,} have begun"
    sums = (
        ("total_images", budget.total_images if next_images else None, spent.images, reserved.images, next_images),
        ("gpu_hours", budget.gpu_hours, spent.device_hours, reserved.device_hours, next_hours),
        ("wall_hours", budget.wall_hours, spent.wall_hours, 0.0, next_wall_hours),
    )
    return next(filter(None, (_overspent(*each) for each in sums)), "")


def is_over(budget: Budget, spent: Spent) -> str:
    """Why running trials must save and pause now; empty where they may go on. Images and trials never end what runs."""
    for key, limit, used in (
        ("gpu_hours", budget.gpu_hours, spent.device_hours),
        ("wall_hours", budget.wall_hours, spent.wall_hours),
    ):
        if limit is not None and used >= limit:
            return f"`budget.{key}` is {_shown(limit)}: {_shown(used)} are spent"
    return ""


def _overspent(key: str, limit: float | None, used: float, running: float, coming: float) -> str:
    """A trial whose need is not known may begin while anything is left."""
    total = used + running + coming
    if limit is None or total < limit or (total == limit and coming):
        return ""
    parts = [f"{_shown(used)} are spent"]
    parts += [f"running trials need {_shown(running)}"] if running else []
    parts += [f"the next needs {_shown(coming)}"] if coming else []
    listed = ", ".join(parts[:-1]) + ("," if len(parts) > 2 else "") + " and " if len(parts) > 1 else ""
    return f"`budget.{key}` is {_shown(limit)}: {listed}{parts[-1]}"


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that at least one of the spans covers."""
    return sum(end - start for start, end in _merged(sorted(spans)))


def _merged(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans in order, those that meet as one."""
    if not spans:
        return
    start, end = spans[0]
    for low, high in spans[1:]:
        if low > end:
            yield start, end
            start, end = low, high
        end = max(end, high)
    yield start, end
