"""Which of several points nothing beats in every objective at once."""

from collections.abc import Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results.arms import TrialResult, by_arm
from jit_sweep.results.leaderboard import Results
from jit_sweep.results.objectives import direction_of, mean_values, values_of
from jit_sweep.spec.stages import SearchStage, Stage
from jit_sweep.spec.sweep import SweepSpec
from trainables.evaluation.metrics.registry import Direction, loss

Point = Sequence[float]


def pareto_front(points: Sequence[Point], directions: Sequence[Direction]) -> list[bool]:
    """Whether each point is on the front: no other is at least as good in every objective and better in one.

    Equal points stand or fall together.
    """
    losses = [
        tuple(loss(value, direction=direction) for value, direction in zip(point, directions, strict=True)) for point in points
    ]
    return [not any(_dominates(other, mine) for other in losses) for mine in losses]


def _dominates(a: Point, b: Point) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front_of(searched: Sequence[TrialResult], stages: Sequence[Stage]) -> frozenset[str]:
    """The keys of the searched trials whose arm, as its mean over seeds, is on the front of its stage.

    A stage of one objective has no front. An arm of which a trial has no score, or none yet, is no point.
    """
    found: set[str] = set()
    for index, stage in enumerate(stages):
        if isinstance(stage, SearchStage) and stage.search.objectives:
            mine = [trial for trial in searched if trial.entry.stage == index]
            found |= {trial.entry.key for arm in _front(mine, stage.search.objectives) for trial in arm}
    return frozenset(found)


def front_in(reader: LedgerReader, results: Results) -> frozenset[str]:
    """The same of a sweep's results, by its own stages."""
    if not results.searched:
        return frozenset()
    return front_of(results.searched, SweepSpec.model_validate(reader.sweep(results.sweep).spec).stages)


def _front(trials: Sequence[TrialResult], objectives: Sequence[str]) -> list[list[TrialResult]]:
    arms = [arm for arm in by_arm(trials) if all(values_of(objectives, trial) is not None for trial in arm)]
    points = [point for arm in arms if (point := mean_values(objectives, arm)) is not None]
    stand = pareto_front(points, [direction_of(name) for name in objectives])
    return [arm for arm, stands in zip(arms, stand, strict=True) if stands]
