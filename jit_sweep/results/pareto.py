"""The Pareto front of points and of a search's arms: those that no other dominates."""

from collections.abc import Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results.arms import TrialResult, by_arm
from jit_sweep.results.leaderboard import Results
from jit_sweep.results.objectives import direction_of, mean_values, values_of
from jit_sweep.spec.stages import SearchStage, Stage
from jit_sweep.spec.stored import stored_spec
from trainables.evaluation.metrics.registry import Direction, loss

Point = Sequence[float]


def pareto_front(points: Sequence[Point], directions: Sequence[Direction]) -> list[bool]:
    """Whether each point is on the front: no other is at least as good in every objective and better in one.

    Equal points stand or fall together.
    """
    losses = [
        tuple(loss(value, direction=direction) for value, direction in zip(point, directions, strict=True)) for point in points
    ]
    return [not any(_dominates(other, point) for other in losses) for point in losses]


def _dominates(a: Point, b: Point) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front_of(searched: Sequence[TrialResult], stages: Sequence[Stage]) -> frozenset[str]:
    """The keys of the searched trials whose arm, as its mean over seeds, is on the front of its stage.

    A stage of one objective has no front. An arm of which a trial collapsed, or has no score yet or at all, is no point.
    """
    front: set[str] = set()
    for index, stage in enumerate(stages):
        if isinstance(stage, SearchStage) and stage.search.objectives:
            of_stage = [trial for trial in searched if trial.entry.stage == index]
            front |= {trial.entry.key for arm in _front(of_stage, stage.search.objectives) for trial in arm}
    return frozenset(front)


def front_in(reader: LedgerReader, results: Results) -> frozenset[str]:
    """The front (`front_of`) of a sweep's searched trials, by the stages of its own file; empty where nothing was searched."""
    if not results.searched:
        return frozenset()
    return front_of(results.searched, stored_spec(reader.sweep(results.sweep).spec, sweep=results.sweep).stages)


def _front(trials: Sequence[TrialResult], objectives: Sequence[str]) -> list[list[TrialResult]]:
    arms = [arm for arm in by_arm(trials) if all(_is_point(trial, objectives) for trial in arm)]
    points = [point for arm in arms if (point := mean_values(objectives, arm)) is not None]
    on_front = pareto_front(points, [direction_of(name) for name in objectives])
    return [arm for arm, is_on_front in zip(arms, on_front, strict=True) if is_on_front]


def _is_point(trial: TrialResult, objectives: Sequence[str]) -> bool:
    return not trial.collapsed and values_of(objectives, trial) is not None
