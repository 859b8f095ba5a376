"""Arms averaged over the values of an axis: what the other axes do on the whole. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.errors import UserError
from jit_sweep.results.arms import Arm, Spread
from jit_sweep.results.leaderboard import Results
from jit_sweep.statistics.student_t import mean, sample_sd
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import metric_of, score_names

Cell = Mapping[str, AxisValue]


@dataclass(frozen=True)
class AveragedArm:
    """The arms that agree in all axes but those averaged over."""

    cell: Cell
    arms: tuple[Arm, ...]
    of: int
    """Arms that the largest such group has: fewer make means that do not compare."""
    metrics: Mapping[str, Spread]
    """Over the seeds that all of its arms have: each seed's mean over the arms, then mean and standard deviation of these."""

    @property
    def images(self) -> tuple[int, ...]:
        """The budgets of its arms, each once."""
        return tuple(sorted({arm.images for arm in self.arms}))

    @property
    def remarks(self) -> list[str]:
        """What keeps it from being compared as it stands."""
        collapsed, lost = sum(arm.collapsed for arm in self.arms), sum(arm.lost for arm in self.arms)
        said = ["other arms are missing"] if len(self.arms) < self.of else []
        return said + [f"{count} {word}" for count, word in ((collapsed, "collapsed"), (lost, "lost")) if count]


def averaged(results: Results, axes: Sequence[str]) -> list[AveragedArm]:
    """The means over some axes, best first, those with a collapsed seed last. UserError: no arm has one of these axes."""
    known = list(dict.fromkeys(axis for arm in results.arms for axis in arm.arm))
    if strange := [axis for axis in axes if axis not in known]:
        raise UserError(f"`--over` must name an axis of the arms, got {strange[0]!r}; they have {', '.join(known) or 'none'}")
    groups: defaultdict[tuple[tuple[str, AxisValue], ...], list[Arm]] = defaultdict(list)
    for arm in sorted(results.arms, key=lambda arm: arm.position):
        groups[tuple((axis, value) for axis, value in arm.arm.items() if axis not in axes)].append(arm)
    of = max(map(len, groups.values()), default=0)
    rows = [AveragedArm(dict(cell), tuple(arms), of, _metrics(arms)) for cell, arms in groups.items()]
    return sorted(rows, key=lambda row: _order(row, results.objective))


def _metrics(arms: Sequence[Arm]) -> dict[str, Spread]:
    found = {}
    for name in score_names():
        tables = [arm.by_seed(name) for arm in arms]
        shared = sorted(set.intersection(*map(set, tables)))
        values = [mean([table[seed] for table in tables]) for seed in shared]
        if values:
            found[name] = Spread(mean(values), sample_sd(values), len(values))
    return found


def _order(row: AveragedArm, objective: str) -> tuple[bool, bool, float]:
    spread = row.metrics.get(objective)
    return spread is None, any(arm.collapsed for arm in row.arms), metric_of(objective).loss(spread.mean) if spread else 0.0
