"""What a sweep has spent of its budget, and whether another trial may begin. Pure functions of the ledger's rows.

Images count as often as they were trained on. A trial spends its devices' time from its start to its end, at work or not; what
tunes how trained ones sample spends a worker's. Wall hours are those in which at least one of them was under way: neither the
time between two runs of a sweep nor a wait for a cluster counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from jit_sweep.ledger.records import AttemptRow
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.sweep import Resources
from trainables.config.shape import SpeedShape, speed_shape
from trainables.config.trial import TrialConfig

HOUR_S = 3600.0
Key = tuple[str, int]
"""An attempt: its trial and number."""


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


NOTHING = Need()


@dataclass(frozen=True)
class Spending:
    """What attempts take from a sweep: the rows that its costs, its budget and its guard are worked out from."""

    sweep: str
    attempts: Sequence[AttemptRow]
    """Of all sweeps at this sweep's trials."""
    devices: Mapping[str, float]
    """Of a trial, in every sweep that made one of the attempts, by the sweep's name."""
    now: float | None
    """None where nothing runs: an attempt that is still open was left so at its last report."""
    trials: Mapping[str, TrialConfig] = field(default_factory=dict)
    """By id; of others neither speed nor need is known."""
    probed: Mapping[SpeedShape, float] = field(default_factory=dict)
    """Images a second by shape, for shapes of which no attempt says it."""
    tuning: Sequence[tuple[float, float]] = ()
    """When evaluations ran, from when to when, by which the sweep's file tunes how its trials sample."""
    tuner_devices: float = 0.0
    """Of each of them."""

    @cached_property
    def own(self) -> list[AttemptRow]:
        """The attempts that the sweep made itself."""
        return [attempt for attempt in self.attempts if attempt.sweep == self.sweep]

    @cached_property
    def open_now(self) -> list[AttemptRow]:
        """The sweep's own attempts that run."""
        return [attempt for attempt in self.own if attempt.outcome is None]

    @cached_property
    def begun(self) -> frozenset[str]:
        """The trials that the sweep has begun."""
        return frozenset(attempt.trial_id for attempt in self.own)

    @cached_property
    def before(self) -> Mapping[Key, int]:
        """The images of the checkpoint that each attempt went on from."""
        last: dict[str, AttemptRow] = {}
        before: dict[Key, int] = {}
        for attempt in sorted(self.attempts, key=key_of):
            former = last.get(attempt.trial_id)
            saved = former.checkpoint_images if former is not None else None
            before[key_of(attempt)] = saved if saved is not None and saved <= attempt.target_images else 0
            last[attempt.trial_id] = attempt
        return before

    @cached_property
    def spent(self) -> Spent:
        """What the sweep has spent by now."""
        spans = [(attempt.started_at, attempt.started_at + self.held_s(attempt)) for attempt in self.own]
        return Spent(
            images=sum(max(0, attempt.images - self.before[key_of(attempt)]) for attempt in self.own),
            device_hours=(self._trials_s * self.devices[self.sweep] + self.tuning_s * self.tuner_devices) / HOUR_S,
            wall_hours=_covered_s([*spans, *self.tuning]) / HOUR_S,
            trials=len(self.begun),
        )

    @property
    def tuning_s(self) -> float:
        """Seconds of all evaluations that tune."""
        return sum(end - begin for begin, end in self.tuning)

    @property
    def _trials_s(self) -> float:
        return sum(self.held_s(attempt) for attempt in self.own)

    @cached_property
    def speeds(self) -> Mapping[SpeedShape, float]:
        """Images a second by shape: over whole attempts, evaluation and all, where one has ended; else as running ones report;
        else as probed."""
        reports: defaultdict[SpeedShape, list[float]] = defaultdict(list)
        wholes: defaultdict[SpeedShape, list[tuple[int, float]]] = defaultdict(list)
        for attempt in (attempt for attempt in self.attempts if attempt.trial_id in self.trials):
            shape, trained = speed_shape(self.trials[attempt.trial_id]), attempt.images - self.before[key_of(attempt)]
            seconds = held_s(attempt, now=None)
            if attempt.outcome == "done" and trained > 0 and seconds > 0:
                wholes[shape].append((trained, seconds))
            elif attempt.images_per_second:
                reports[shape].append(attempt.images_per_second)
        reported = {shape: sum(speeds) / len(speeds) for shape, speeds in reports.items()}
        whole = {shape: sum(n for n, _ in ended) / sum(s for _, s in ended) for shape, ended in wholes.items()}
        return {**self.probed, **reported, **whole}

    def held_s(self, attempt: AttemptRow) -> float:
        """Seconds in which an attempt held its workers."""
        return held_s(attempt, now=self.now)

    def need(self, trial: TrialConfig, *, images: int) -> Need:
        """What a trial needs to train on so many more images."""
        speed = self.speeds.get(speed_shape(trial)) if self.speeds else None
        hours = images / speed / HOUR_S if speed else 0.0
        return Need(images, hours * self.devices[self.sweep], hours)


def devices_of(resources: Resources) -> float:
    """GPUs of a trial's workers together; their CPUs where they have no GPU."""
    return resources.workers * (resources.gpus or resources.cpus)


def tuner_devices_of(resources: Resources) -> float:
    """GPUs, or CPUs, of one evaluation that tunes: one worker's."""
    return resources.gpus or resources.cpus


def key_of(attempt: AttemptRow) -> Key:
    return attempt.trial_id, attempt.number


def held_s(attempt: AttemptRow, *, now: float | None) -> float:
    """Seconds in which an attempt held its workers. `now` None: nothing runs, so that an open one ended unseen."""
    if attempt.outcome is None:
        end = attempt.updated_at if now is None else now
    elif attempt.outcome == "driver_lost" or attempt.ended_at is None:
        end = attempt.updated_at
    else:
        end = attempt.ended_at
    return max(0.0, end - attempt.started_at)


def together(needs: Sequence[Need]) -> Need:
    """What trials beside each other need."""
    return Need(
        images=sum(need.images for need in needs),
        device_hours=sum(need.device_hours for need in needs),
        wall_hours=max((need.wall_hours for need in needs), default=0.0),
    )


class _Line(NamedTuple):
    """One limit of a budget, and what counts against it."""

    key: str
    limit: float | None
    used: float
    running: float
    next_need: float
    kept: float

    def overspent(self) -> str:
        """Why the limit does not hold it all; empty where it does. What needs nothing that is known takes what is left."""
        total = self.used + self.running + self.next_need + self.kept
        if self.limit is None or total < self.limit or (total == self.limit and (self.next_need or self.kept)):
            return ""
        parts = [f"{_shown(self.used)} are spent"]
        parts += [f"running trials need {_shown(self.running)}"] if self.running else []
        parts += [f"the next needs {_shown(self.next_need)}"] if self.next_need else []
        parts += [f"one to come to its end needs {_shown(self.kept)} more"] if self.kept else []
        listed = ", ".join(parts[:-1]) + ("," if len(parts) > 2 else "") + " and " if len(parts) > 1 else ""
        return f"`budget.{self.key}` is {_shown(self.limit)}: {listed}{parts[-1]}"


def refusal(
    budget: Budget, spent: Spent, reserved: Need, *, next_need: Need, kept: Need = NOTHING, has_begun: bool = False
) -> str:
    """Why the next trial may not begin; empty where it may.

    Args:
        reserved: what the trials on their way still need to their next gates.
        next_need: what the next trial needs to its own.
        kept: what is to stay beyond that.
        has_begun: it goes on, and so counts among the trials already.
    """
    if budget.trials is not None and not has_begun and spent.trials >= budget.trials:
        return f"`budget.trials` is {budget.trials:,}: {spent.trials:,} have begun"
    amounts = (spent, reserved, next_need, kept)
    images = budget.total_images if next_need.images or kept.images else None
    lines = (
        _Line("total_images", images, *(amount.images for amount in amounts)),
        *(_Line(key, limit, *(amount.device_hours * by for amount in amounts)) for key, limit, by in _of_device_hours(budget)),
        _Line("wall_hours", budget.wall_hours, spent.wall_hours, 0.0, next_need.wall_hours, kept.wall_hours),
    )
    return next(filter(None, (line.overspent() for line in lines)), "")


def is_over(budget: Budget, spent: Spent) -> str:
    """Why running trials must save and pause now; empty where they may go on. Images and trials never end what runs."""
    for key, limit, used in (
        *((key, limit, spent.device_hours * by) for key, limit, by in _of_device_hours(budget)),
        ("wall_hours", budget.wall_hours, spent.wall_hours),
    ):
        if limit is not None and used >= limit:
            return f"`budget.{key}` is {_shown(limit)}: {_shown(used)} are spent"
    return ""


def _of_device_hours(budget: Budget) -> tuple[tuple[str, float | None, float], ...]:
    """Limits that device-hours count against: key, limit, and what one device-hour counts."""
    return ("gpu_hours", budget.gpu_hours, 1.0), ("money", budget.money, budget.price_per_gpu_hour or 0.0)


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
