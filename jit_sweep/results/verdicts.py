"""Which of two arms is better, where they differ in one axis only, and whether that is more than luck."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from jit_sweep.results.arms import Arm
from jit_sweep.statistics.student_t import Interval, mean, t_interval
from search_spaces.axes import AxisValue, arm_label
from trainables.evaluation.metrics.registry import METRICS, verdict_metrics

PATCH_SIZE = "patch_size"
"""Never the axis of a verdict: arms of different patch sizes differ in cost and in how fast they converge."""
LEAST_SHARED_SEEDS = 3
"""Of two seeds the 95 % interval is 12.7 standard errors wide to each side, and rests on one degree of freedom."""
MOST_ALIKE = 16
"""Arms alike but for one axis that are contrasted pair by pair: of more, one in twenty pairs differs by luck alone."""

Side = Literal["a", "b"]


class Difference(NamedTuple):
    """A metric of arm a minus that of arm b, paired by the seeds that both have."""

    metric: str
    n: int
    """Shared seeds."""
    mean: float | None
    interval: Interval | None
    """95 %, by Student's t over the pairs; None of fewer than two."""

    @property
    def prefers(self) -> Side | None:
        """The arm that is better beyond chance."""
        if self.n < LEAST_SHARED_SEEDS or self.interval is None or not self.interval.excludes_zero:
            return None
        return "a" if METRICS[self.metric].loss(self.interval.low) < 0 else "b"

    def __str__(self) -> str:
        """Its mean, interval and number of shared seeds, such as `kid_efflite0_96 -0.38 [-0.45, -0.31] n=6`."""
        if self.mean is None or self.interval is None:
            return f"{self.metric} n={self.n}"
        low, high = self.interval
        return f"{self.metric} {self.mean:+.3g} [{low:.3g}, {high:.3g}] n={self.n}"


@dataclass(frozen=True)
class Contrast:
    """Two arms that differ in one axis, and what each metric says of them."""

    axis: str
    a: Arm
    b: Arm

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Of the metrics that can judge the axis."""
        return tuple(paired_difference(self.a, self.b, metric=metric) for metric in judges(self.axis))

    @property
    def preferred(self) -> Arm | None:
        """The better arm, where every metric that can judge the axis prefers it and nothing speaks against a verdict."""
        return None if self.reason else self._agreed

    @property
    def reason(self) -> str:
        """Why there is no verdict; empty where there is one."""
        if self.same_run:
            return f"{self.axis} changed nothing: these arms are the same run"
        if self.a.images != self.b.images:
            return f"they trained on {self.a.images} and {self.b.images} images"
        if self.a.unfinished or self.b.unfinished:
            return f"{self.a.unfinished + self.b.unfinished} trials have not ended"
        if self.a.pruned or self.b.pruned:
            return f"{self.value(self.a if self.a.pruned else self.b)} was stopped early"
        if self._agreed is None:
            return ", ".join(self._says(difference) for difference in self.differences)
        if self._agreed.lost:
            return f"{self.value(self._agreed)} lost {self._agreed.lost} of its {len(self._agreed.trials)} seeds"
        if self._agreed.collapsed:
            return f"{self.value(self._agreed)} collapsed in {self._agreed.collapsed} of its {len(self._agreed.trials)} seeds"
        return ""

    @cached_property
    def same_run(self) -> bool:
        """Whether the axis changed nothing: every score of every seed that both have is equal to the last bit."""
        a, b = ({trial.entry.seed: trial.score.by_name for trial in arm.trials if trial.score} for arm in (self.a, self.b))
        shared = a.keys() & b.keys()
        return self.a.images == self.b.images and bool(shared) and all(a[seed] == b[seed] for seed in shared)

    @property
    def hopeless(self) -> str:
        """Why no seed to come could bring a verdict; empty where one could, or has, or where the axis changed nothing."""
        if self.same_run:
            return ""
        if self.a.pruned or self.b.pruned:
            return "an arm was stopped early"
        short = min(len(self.a.trials), len(self.b.trials)) < LEAST_SHARED_SEEDS
        return f"an arm has fewer than {LEAST_SHARED_SEEDS} seeds" if short else ""

    @property
    def verdict(self) -> str:
        """Such as `prediction=x better (...)`, with each difference a - b, or `undecided (...)`."""
        if self.preferred is None:
            return f"undecided ({self.reason})"
        return f"{self.value(self.preferred)} better ({', '.join(map(str, self.differences))})"

    @property
    def line(self) -> str:
        """All of it in one line, such as `patch_size=16: prediction=x against prediction=v: prediction=x better (...)`."""
        sides = f"{self.value(self.a)} against {self.value(self.b)}"
        return ": ".join(part for part in (self.context, sides, self.verdict) if part and part != "baseline")

    @property
    def context(self) -> str:
        """What the two arms share, in words."""
        return arm_label({axis: value for axis, value in self.a.arm.items() if self.b.arm.get(axis, _ABSENT) == value})

    def value(self, arm: Arm) -> str:
        """The arm's side of the contrast in words."""
        return arm_label({self.axis: arm.arm[self.axis]})

    @property
    def _agreed(self) -> Arm | None:
        sides = {difference.prefers for difference in self.differences}
        if len(sides) != 1 or None in sides:
            return None
        return self.a if sides == {"a"} else self.b

    def _says(self, difference: Difference) -> str:
        if difference.n < LEAST_SHARED_SEEDS:
            return f"{difference} has too few seeds"
        if difference.prefers is None:
            return f"{difference} says neither"
        return f"{difference} says {self.value(self.a if difference.prefers == 'a' else self.b)}"


_ABSENT = object()


def contrasts(arms: Sequence[Arm]) -> tuple[Contrast, ...]:
    """Every pair of a stage's arms that differ in exactly one axis, other than the patch size, in the given order."""
    stages: defaultdict[int, list[Arm]] = defaultdict(list)
    for arm in arms:
        stages[arm.stage].append(arm)
    return tuple(contrast for stage in stages.values() for contrast in _of_stage(stage))


def judges(axis: str) -> list[str]:
    """The metrics that a verdict along an axis needs to agree."""
    return [metric for metric in verdict_metrics() if axis not in METRICS[metric].blind_to]


def paired_difference(a: Arm, b: Arm, *, metric: str) -> Difference:
    """One metric over the seeds that both arms have."""
    of_a, of_b = a.by_seed(metric), b.by_seed(metric)
    differences = [of_a[seed] - of_b[seed] for seed in sorted(of_a.keys() & of_b.keys())]
    centre = mean(differences) if differences else None
    return Difference(metric=metric, n=len(differences), mean=centre, interval=t_interval(differences))


def _of_stage(arms: Sequence[Arm]) -> Iterator[Contrast]:
    axes = list(dict.fromkeys(axis for arm in arms for axis in arm.arm))
    everywhere = {axis for axis in axes if all(axis in arm.arm for arm in arms)}
    for axis in axes:
        if axis == PATCH_SIZE:
            continue
        # Conditional axes come and go with the axis they hang on, and so do not count as a difference of their own.
        shared = everywhere if axis in everywhere else set(axes)
        for alike in _alike(arms, axis=axis, shared=shared - {axis}):
            for a, b in _pairs(alike):
                if a.arm[axis] != b.arm[axis] and _differ_only_in(axis, a, b):
                    yield Contrast(axis, a, b)


def _pairs(alike: Sequence[Arm]) -> Iterator[tuple[Arm, Arm]]:
    """Every pair; of many arms each with the next one only, since all pairs of thousands are millions."""
    return itertools.combinations(alike, 2) if len(alike) <= MOST_ALIKE else itertools.pairwise(alike)


def _alike(arms: Sequence[Arm], *, axis: str, shared: set[str]) -> list[list[Arm]]:
    """The arms that have an axis, grouped by the values of those they must share."""
    groups: defaultdict[frozenset[tuple[str, AxisValue]], list[Arm]] = defaultdict(list)
    for arm in arms:
        if axis in arm.arm:
            groups[frozenset((name, value) for name, value in arm.arm.items() if name in shared)].append(arm)
    return list(groups.values())


def _differ_only_in(axis: str, a: Arm, b: Arm) -> bool:
    both = a.arm.keys() & b.arm.keys()
    return all(a.arm[name] == b.arm[name] for name in both if name != axis)
