"""What arms score over guidance and its interval, where their sampling was tuned: from the settings that the ledger keeps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.event_records import Evaluated, Tuned
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.statistics.student_t import mean
from trainables.config.tuning import CHOOSING, Tuning
from trainables.evaluation.metrics.registry import metric_of

Setting = tuple[float, tuple[float, float]]
"""Guidance, and the times at which it acts."""
OFF = 1.0
"""Guidance that does nothing, at any interval."""


class SurfacePoint(NamedTuple):
    """One guidance at one interval."""

    guidance: float
    interval: tuple[float, float]
    value: float
    """Mean over seeds; of each the best of what else was tuned there."""
    seeds: int


@dataclass(frozen=True)
class Surface:
    """An arm's scores over guidance and interval."""

    label: str
    metric: str
    points: tuple[SurfacePoint, ...]
    """By interval, then guidance."""

    @property
    def best(self) -> SurfacePoint:
        return min(self.points, key=lambda point: metric_of(self.metric).loss(point.value))


def sampling_surfaces(reader: LedgerReader, sweep: str, arms: Sequence[Arm]) -> list[Surface]:
    """A surface for each arm of which a trial was tuned over two guidances or more, in the order of the arms."""
    tuned = reader.tuned(sweep)
    found = []
    for arm in arms:
        trials = [(trial, tuned[trial.entry.trial_id]) for trial in arm.trials if trial.entry.trial_id in tuned]
        swept = [(trial, record) for trial, record in trials if record.tuning.get("guidance") and _is_of(trial, record)]
        if swept:
            metric = swept[-1][1].metric
            seeds = [_scores(reader.evaluated(trial.entry.trial_id), trial, record) for trial, record in swept]
            found.append(Surface(arm.label, metric, tuple(_points(seeds, metric))))
    return [surface for surface in found if len({point.guidance for point in surface.points}) > 1]


def _is_of(trial: TrialResult, record: Tuned) -> bool:
    """Whether the search was of the weights and the evaluation that the sweep scores."""
    return (record.images, record.evaluation_id) == (trial.entry.images, trial.entry.evaluation_id)


def _scores(evaluated: Sequence[Evaluated], trial: TrialResult, record: Tuned) -> list[tuple[Setting, float]]:
    """What the search saw of a trial: its own noise and number of images, without what collapsed."""
    own = trial.entry.evaluation
    wanted = (trial.entry.images, own.seed + CHOOSING, Tuning.model_validate(record.tuning).images(own.n))
    seen = []
    for each in evaluated:
        setting = each.evaluation
        if (each.images, setting["seed"], setting["n"]) == wanted and not each.collapsed and record.metric in each.values:
            low, high = setting["interval"]
            seen.append(((setting["guidance"], (low, high)), each.values[record.metric]))
    return seen


def _points(seeds: Sequence[Sequence[tuple[Setting, float]]], metric: str) -> list[SurfacePoint]:
    loss = metric_of(metric).loss
    values: defaultdict[Setting, list[float]] = defaultdict(list)
    for scores in seeds:
        for setting in dict.fromkeys(setting for setting, _ in scores):
            values[setting].append(min((value for each, value in scores if each == setting), key=loss))
    order = sorted(values, key=lambda setting: (setting[1], setting[0]))
    return [SurfacePoint(*setting, mean(values[setting]), len(values[setting])) for setting in order]
