"""What a search improves: registered metrics that a trial is scored with, and quantities that its configuration costs."""

from collections.abc import Sequence

from jit_sweep.results.arms import TrialResult
from jit_sweep.spec.stages import SearchSpec
from jit_sweep.statistics.student_t import mean
from search_spaces.quantities import QUANTITIES
from trainables.evaluation.metrics.registry import Direction, metric_of, score_names


def objectives_of(search: SearchSpec, objective: str) -> tuple[str, ...]:
    """A search's own objectives, or the sweep's."""
    return search.objectives or (objective,)


def direction_of(name: str) -> Direction:
    """Which way is better; a cost is always minimised."""
    return metric_of(name).direction if name in score_names() else "minimize"


def value_of(name: str, trial: TrialResult) -> float | None:
    """A trial's score or cost; None where it has no such score."""
    if name in score_names():
        return trial.value(name)
    return float(QUANTITIES[name].of(trial.entry.trial, trial.entry.images))


def values_of(names: Sequence[str], trial: TrialResult) -> tuple[float, ...] | None:
    """A trial's objectives; None where it lacks one of them."""
    known = [value_of(name, trial) for name in names]
    values = tuple(value for value in known if value is not None)
    return values if len(values) == len(names) else None


def mean_values(names: Sequence[str], trials: Sequence[TrialResult]) -> tuple[float, ...] | None:
    """The objectives' means over the trials that have them all; None where none has."""
    rows = [row for trial in trials if (row := values_of(names, trial)) is not None]
    return tuple(mean(column) for column in zip(*rows, strict=True)) if rows else None
