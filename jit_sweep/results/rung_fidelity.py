"""Rank correlation between arms' values at a rung and their final scores: whether stopping arms at the rung was safe.

Arms that were stopped have no final score. Those that a scheduler drew from them and let go on (`schedulers.audit`) stand for
them: survivors alone cannot show that slow starters win.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jit_sweep.ledger.records import RungRow, VerdictRow
from jit_sweep.results.arms import Arm
from jit_sweep.schedulers.audit import is_of_the_sample
from jit_sweep.statistics.student_t import mean
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.of_networks import UNSAMPLED
from trainables.evaluation.metrics.registry import metric_of

LEAST_ARMS = 4
"""Arms that a correlation needs."""
UNSAFE_BELOW = 0.5
"""Correlation below which a rung that stopped arms is marked unsafe."""


class RungFidelity(NamedTuple):
    """One rung of the arms that are compared with each other."""

    group: str
    """What they share, such as `patch_size=16`."""
    images: int
    metric: str
    arms: int
    correlation: float
    """Spearman's, of the rung's order with the final one: 1 is the same order."""
    stopped: int
    """Arms of the group that were stopped at this rung or before."""
    audited: int = 0
    """Arms that would have been stopped by then, and were drawn to go to their end."""
    overtook: int = 0
    """Of these, arms that ended better than the best of those that went on by what they had shown."""

    @property
    def unsafe(self) -> bool:
        """Whether arms were stopped by a rung whose correlation with the final order is below `UNSAFE_BELOW`, or that an
        audited arm has shown to be wrong about the best."""
        return self.stopped > 0 and (self.correlation < UNSAFE_BELOW or self.overtook > 0)

    def __str__(self) -> str:
        where = f"{self.group}: " if self.group != "baseline" else ""
        line = f"{where}{self.metric} at {self.images:,} images ranks {self.arms} arms with correlation {self.correlation:.2f}"
        if self.audited:
            line += f"; {self.overtook} of {self.audited} drawn from the stopped ended as the best"
        elif self.stopped:
            line += ", of survivors alone"
        if self.unsafe:
            return f"{line}: UNSAFE, {self.stopped} arms were stopped by then; set `first_rung` later"
        return line


def fidelity(
    arms: Sequence[Arm],
    rungs: Sequence[RungRow],
    *,
    objective: str,
    metric: str,
    within: Sequence[str] = ("patch_size",),
    verdicts: Sequence[VerdictRow] = (),
) -> list[RungFidelity]:
    """One value for each group and rung with at least `LEAST_ARMS` arms that have a value there and a final score.

    `within`: axes whose values part the arms into groups, as do those along which the rungs' values do not compare. Pruned arms
    have no final score and are not correlated, nor are those of which a seed collapsed, whose score is an accident.
    """
    parting = {*within, *(metric_of(metric).blind_to - UNSAMPLED)}
    drawn = _drawn(verdicts)
    values = {(row.trial_id, row.images): row.value for row in rungs if row.name == metric}
    groups: defaultdict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        groups[arm_label({axis: arm.arm[axis] for axis in arm.arm if axis in parting})].append(arm)
    fidelities = []
    for group, whole in groups.items():
        members = [arm for arm in whole if not arm.collapsed]
        ends = {arm.images for arm in members}
        for images in sorted({images for _, images in values} - ends):
            pairs = [pair for arm in members if (pair := _pair(arm, values, images, objective)) is not None]
            at_rung, at_end = metric_of(metric).loss, metric_of(objective).loss
            correlation = spearman([at_rung(value) for value, _ in pairs], [at_end(value) for _, value in pairs])
            if len(pairs) >= LEAST_ARMS and correlation is not None:
                stopped = sum(arm.pruned > 0 and _furthest(arm, values) <= images for arm in members)
                sample = [arm for arm in members if _is_drawn(arm, drawn, images=images) and objective in arm.metrics]
                overtook = _overtook(sample, members, objective)
                found = RungFidelity(group, images, metric, len(pairs), correlation, stopped, len(sample), overtook)
                fidelities.append(found)
    return fidelities


def _drawn(verdicts: Sequence[VerdictRow]) -> dict[tuple[str, str], int]:
    """The first gate at which each arm, by race and racer, would have been stopped but for the sample."""
    gates: dict[tuple[str, str], int] = {}
    for row in verdicts:
        if is_of_the_sample(row.reason):
            gates[row.race, row.racer] = min(row.gate, gates.get((row.race, row.racer), row.gate))
    return gates


def _is_drawn(arm: Arm, drawn: Mapping[tuple[str, str], int], *, images: int) -> bool:
    """Whether an arm would have been stopped at a rung or before."""
    entry = arm.trials[0].entry
    gate = drawn.get((entry.race, entry.racer))
    return gate is not None and gate < len(entry.gates) and entry.gates[gate] <= images


def _overtook(sample: Sequence[Arm], members: Sequence[Arm], objective: str) -> int:
    """How many of a sample ended better than the best of the others."""
    loss = metric_of(objective).loss
    others = [loss(arm.metrics[objective].mean) for arm in members if arm not in sample and objective in arm.metrics]
    return sum(loss(arm.metrics[objective].mean) < min(others) for arm in sample) if others else 0


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one side has no order."""
    if len(a) < 2:
        return None
    ranks = _ranks(a), _ranks(b)
    centre = (len(a) + 1) / 2
    xs, ys = ([rank - centre for rank in side] for side in ranks)
    scale = math.sqrt(math.fsum(x * x for x in xs) * math.fsum(y * y for y in ys))
    return math.fsum(x * y for x, y in zip(xs, ys, strict=True)) / scale if scale else None


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    first = {value: ordered.index(value) for value in set(values)}
    return [first[value] + (ordered.count(value) + 1) / 2 for value in values]


def _pair(arm: Arm, values: Mapping[tuple[str, int], float], images: int, objective: str) -> tuple[float, float] | None:
    """An arm's mean at a rung and at the end, over the seeds that have both."""
    both = [
        (values[trial.entry.trial_id, images], end)
        for trial in arm.trials
        if (trial.entry.trial_id, images) in values and (end := trial.value(objective)) is not None
    ]
    return (mean([at for at, _ in both]), mean([end for _, end in both])) if both else None


def _furthest(arm: Arm, values: Mapping[tuple[str, int], float]) -> int:
    trials = {trial.entry.trial_id for trial in arm.trials}
    return max((images for trial, images in values if trial in trials), default=0)
