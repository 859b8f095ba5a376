"""What a planned sweep will take, from how fast its shapes are: a pure simulation of its schedule.

Not counted: the exchange of gradients between a trial's workers, and the slowing of trials that run at once.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from jit_sweep.budget.spending import HOUR_S, devices_of, tuner_devices_of
from jit_sweep.plan.asked import combinations
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.order import turn
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.sampling_remarks import samples_to_tune
from jit_sweep.plan.search import proposals, searches
from jit_sweep.plan.tuned_arms import still_to_come
from jit_sweep.spec.schedulers import NoScheduler
from jit_sweep.spec.sweep import Resources, SweepSpec
from search_spaces.cells import put
from trainables.config.average import RAW
from trainables.config.shape import SpeedShape, speed_shape
from trainables.config.trial import TrialConfig
from trainables.evaluation.metrics.registry import RUNG_METRICS, NetworkAlone, metric_of
from trainables.networks.cost import parameter_count, training_flops
from trainables.training.measurement import Measured

LANE_START_S = 12.0
"""From the command to the first trial: Ray, and a lane's worker group."""
TRIAL_START_S = 0.15
"""In a warm lane, from the end of one trial to the first step of the next, as `make bench` finds it."""
FP32_BYTES = 4
MOMENTS = 2
"""Numbers that AdamW keeps of each weight."""


@dataclass(frozen=True)
class Job:
    """A trial to be brought to an image count, for all entries that want it."""

    entry: Entry
    """The first of them."""
    shape: str
    """What trials share that a lane warms up for once."""
    measured: Measured
    seconds: float
    """In a lane that is warm."""

    def turn(self, *, kept: str = "", under_way: Collection[str] = ()) -> tuple[bool, int, bool, int, int]:
        """When a lane takes it, as `jit_sweep.plan.order` has it."""
        seed, position = self.entry.seed, self.entry.position
        return turn(self.shape, kept=kept, under_way=under_way, flops=self.flops, seed=seed, position=position)

    @cached_property
    def flops(self) -> int:
        return _flops(self.entry)


class Simulated(NamedTuple):
    """The seconds of a simulated sweep."""

    wall_s: float
    """Until the last lane ends, without `LANE_START_S`."""
    busy_s: float
    """Summed over all lanes, warm-ups included."""


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take."""

    planned: tuple[Job, ...]
    proposed: tuple[Job, ...]
    """What searches will propose, each as large as its space allows."""
    resources: Resources
    lanes: int
    may_end_early: bool
    """A scheduler may stop trials."""
    most_kept: int | None
    """Trials whose checkpoints stay; None: all."""
    tuning_s: float = 0.0
    """What tuning how they sample takes at most, over all trials."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        return self.planned + self.proposed

    @property
    def is_at_most(self) -> bool:
        """Whether the sweep may take less, as its file says itself."""
        return self.may_end_early or bool(self.proposed) or self.tuning_s > 0

    @property
    def unit(self) -> Literal["GPU", "CPU"]:
        return "GPU" if self.resources.gpus else "CPU"

    @property
    def speeds(self) -> dict[SpeedShape, float]:
        """Images a second of whole trials, over all workers, by their shapes."""
        workers = self.resources.workers
        return {speed_shape(job.entry.trial): job.measured.images_per_second * workers for job in self.planned}

    @cached_property
    def simulated(self) -> Simulated:
        return simulated(self.jobs, lanes=self.lanes)

    @property
    def device_hours(self) -> float:
        of_trials = self.simulated.busy_s * devices_of(self.resources)
        return (of_trials + self.tuning_s * tuner_devices_of(self.resources)) / HOUR_S

    @property
    def wall_s(self) -> float:
        return LANE_START_S + self.simulated.wall_s + self.tuning_s / self.lanes

    @property
    def disk_bytes(self) -> int:
        """Checkpoints while it runs: each trial's last, and one on the way in every lane."""
        sizes = self._sizes()
        return sum(sizes) + self.lanes * max(sizes, default=0)

    @property
    def kept_bytes(self) -> int:
        """Checkpoints after its end."""
        return sum(self._sizes()[: self.most_kept])

    def _sizes(self) -> list[int]:
        return sorted((checkpoint_bytes(job.entry.trial) for job in self.jobs), reverse=True)


def estimate(plan: Plan, shape_of: Callable[[Entry], str], measured: Callable[[Entry], Measured], *, lanes: int) -> Estimate:
    """The estimate of a plan on `lanes` lanes.

    `shape_of`: the name of an entry's shape; `measured`: the measurement of that shape. Entries that share a training count
    once; a tuned arm counts at its middle setting, a search with its costliest proposal (`largest_proposals`) as often as it
    proposes.
    """
    spec = plan.spec
    jobs = [_job(spec, entries, shape_of(entries[0]), measured) for entries in shared([*plan.entries, *still_to_come(plan)])]
    later = [
        _job(spec, [entry], shape_of(entry), measured)
        for stage, entry in largest_proposals(plan).items()
        for _ in range(proposals(plan)[stage])
    ]
    return Estimate(
        planned=tuple(jobs),
        proposed=tuple(later),
        resources=spec.resources,
        lanes=lanes,
        may_end_early=not isinstance(spec.scheduler, NoScheduler),
        most_kept=spec.retention.best,
        tuning_s=sum(_tuning_s(spec, job.entry, job.measured) for job in {job.entry.trial_id: job for job in jobs}.values())
        + sum(_tuning_s(spec, job.entry, job.measured) for job in later),
    )


def simulated(jobs: Sequence[Job], *, lanes: int) -> Simulated:
    """The seconds of a run in which each job goes to the lane that is free first, in the order of `Job.turn`.

    A lane warms up once for each shape. A stage starts when all jobs of the one before have ended.
    """
    warm: list[set[str]] = [set() for _ in range(lanes)]
    kept = [""] * lanes
    start = busy = 0.0
    for stage in sorted({job.entry.stage for job in jobs}):
        free = [(start, lane) for lane in range(lanes)]
        waiting = by_shape([job for job in jobs if job.entry.stage == stage])
        while waiting:
            at, lane = heapq.heappop(free)
            job = taken(waiting, kept=kept[lane], under_way={kept[other] for _, other in free})
            took = job.seconds + (0.0 if job.shape in warm[lane] else job.measured.warmup_s)
            warm[lane].add(job.shape)
            kept[lane] = job.shape
            heapq.heappush(free, (at + took, lane))
            busy += took
        start = max(at for at, _ in free)
    return Simulated(start, busy)


def by_shape(jobs: Sequence[Job]) -> dict[str, deque[Job]]:
    """The jobs of each shape, in the order in which a lane that keeps it takes them."""
    shapes: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        shapes[job.shape].append(job)
    return {shape: deque(sorted(alike, key=lambda job: job.turn(kept=shape))) for shape, alike in shapes.items()}


def taken(waiting: dict[str, deque[Job]], *, kept: str, under_way: Collection[str]) -> Job:
    """Remove from `waiting` the job that a lane takes next, and return it: of the shape it keeps, else the first by `turn`."""
    shape = kept if kept in waiting else min(waiting, key=lambda shape: waiting[shape][0].turn(under_way=under_way))
    job = waiting[shape].popleft()
    if not waiting[shape]:
        del waiting[shape]
    return job


def largest_proposals(plan: Plan) -> dict[int, Entry]:
    """By stage of a search: the costliest trial that it can propose from the baseline."""
    return {stage: max(_corners(plan, stage), key=_flops) for stage in searches(plan.spec)}


def shared(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries by the training that they share, in the plan's order."""
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.trial_id, entry.images), []).append(entry)
    return list(groups.values())


def checkpoint_bytes(trial: TrialConfig) -> int:
    """Weights, averages and moments, in fp32."""
    return FP32_BYTES * parameter_count(trial) * (1 + len(trial.averages) + MOMENTS)


def _corners(plan: Plan, stage: int) -> Iterator[Entry]:
    planner, search = Planner.of(plan), searches(plan.spec)[stage]
    for values in combinations(search.axes):
        cell, images = put(plan.baseline, values), plan.spec.budget.images_per_trial
        yield planner.entry(cell, stage=stage, position=0, seed=search.seed, images=images)


def _job(spec: SweepSpec, entries: Sequence[Entry], shape: str, measured_of: Callable[[Entry], Measured]) -> Job:
    """Entries that share a training may be guided otherwise, so that each takes its own time to score."""
    first, measured = entries[0], measured_of(entries[0])
    training_s = first.images / (measured.images_per_second * spec.resources.workers)
    rungs_s = len(first.rungs) * _rung_s(spec, measured)
    scores_s = sum(measured_of(entry).sampled_s * (1 if entry.evaluation.weights == RAW else 2) for entry in entries)
    return Job(first, shape, measured, TRIAL_START_S + training_s + rungs_s + scores_s)


def _tuning_s(spec: SweepSpec, entry: Entry, measured: Measured) -> float:
    """Of a trial, as if each of its settings took the most steps, and guidance where any has it."""
    tuning, evaluation = spec.evaluation.tune, entry.evaluation
    if tuning is None:
        return 0.0
    passes = 2 if evaluation.guidance == 1 and {*tuning.guidance} - {1} else 1
    steps = max(evaluation.steps, *tuning.steps) / evaluation.steps if tuning.steps else 1.0
    return measured.sampled_s * samples_to_tune(tuning, entry) / evaluation.n * steps * passes


def _rung_s(spec: SweepSpec, measured: Measured) -> float:
    """A rung measures the held-out error, and what the scheduler compares where that is something else."""
    if isinstance(spec.scheduler, NoScheduler) or spec.scheduler.metric in RUNG_METRICS.values():
        return measured.rung_s
    needs_no_samples = isinstance(metric_of(spec.scheduler.metric).needs, NetworkAlone)
    return measured.rung_s + (measured.rung_s if needs_no_samples else measured.sampled_s)


def _flops(entry: Entry) -> int:
    return training_flops(entry.trial, images=entry.images)
