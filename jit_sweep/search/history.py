"""What a sampler gets of the trials before, as pure functions of the ledger's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jit_sweep.ledger.records import Cause, EntryState, RungRow
from jit_sweep.results.arms import TrialResult, by_arm
from jit_sweep.results.objectives import mean_values, objectives_of
from jit_sweep.spec.stages import SearchSpec
from jit_sweep.statistics.student_t import mean
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import RUNG_METRIC

ObservedOutcome = Literal["running", "scored", "pruned", "diverged", "infeasible", "failed"]
_OUTCOMES: tuple[ObservedOutcome, ...] = ("running", "diverged", "infeasible", "pruned", "scored", "failed")
"""What becomes of a proposal with several seeds: the first of these that one of them has."""
_DOES_NOT_FIT = frozenset({Cause.INFEASIBLE, Cause.OUT_OF_MEMORY})


@dataclass(frozen=True)
class Observation:
    """A proposal seen before, and what came of it."""

    values: Mapping[str, AxisValue]
    outcome: ObservedOutcome
    scores: tuple[float, ...] = ()
    """One an objective; empty unless it was scored."""
    levels: Mapping[int, float] = field(default_factory=dict)
    """The rung metric by images, at the rungs that were reached."""


def observations_of(
    trials: Sequence[TrialResult],
    rungs: Sequence[RungRow],
    search: SearchSpec,
    objective: str,
    *,
    rung_metric: str = RUNG_METRIC,
) -> list[Observation]:
    """A stage's proposals in the order they were made, each as the mean over its seeds. What lies outside the search's space,
    since the file has changed, is left out."""
    levels: dict[str, dict[int, float]] = {}
    for row in rungs:
        if row.name == rung_metric:
            levels.setdefault(row.trial_id, {})[row.images] = row.value
    names = objectives_of(search, objective)
    return [_observation(arm, levels, names) for arm in by_arm(trials) if search.holds(arm[0].entry.arm)]


def _observation(
    arm: Sequence[TrialResult], levels: Mapping[str, Mapping[int, float]], objectives: Sequence[str]
) -> Observation:
    outcomes = {outcome_of(trial, objectives) for trial in arm}
    outcome = next(outcome for outcome in _OUTCOMES if outcome in outcomes)
    scores = mean_values(objectives, arm) if outcome == "scored" else None
    return Observation(
        arm[0].entry.arm, outcome, scores or (), _mean_levels([levels.get(trial.entry.trial_id, {}) for trial in arm])
    )


def outcome_of(trial: TrialResult, objectives: Sequence[str]) -> ObservedOutcome:
    """What became of one trial; one whose score lacks an objective has failed, a collapsed one's score is no score."""
    match trial.entry.state:
        case EntryState.DONE if trial.collapsed:
            return "infeasible"
        case EntryState.DONE:
            return "failed" if mean_values(objectives, [trial]) is None else "scored"
        case EntryState.PRUNED:
            return "pruned"
        case EntryState.DIVERGED:
            return "diverged"
        case EntryState.FAILED:
            return "infeasible" if trial.entry.cause in _DOES_NOT_FIT else "failed"
        case _:
            return "running"


def _mean_levels(seeds: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """At each rung the mean over the seeds that have a value there."""
    rungs = sorted({images for levels in seeds for images in levels})
    return {images: mean([levels[images] for levels in seeds if images in levels]) for images in rungs}
