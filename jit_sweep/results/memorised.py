"""Arms that score better than real held-out images: a warning that they repeat training images, and no success. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jit_sweep.ledger.records import HeldoutRow
from jit_sweep.results.arms import Arm, scored_of
from trainables.evaluation.metrics.registry import metric_of, verdict_metrics


class BetterThanReal(NamedTuple):
    """An arm's mean that real images of the same number do not reach."""

    label: str
    metric: str
    mean: float
    real: float
    """What real held-out images score."""

    def __str__(self) -> str:
        scores = f"{self.metric} {self.mean:.4g}, real held-out images {self.real:.4g}"
        return f"{self.label} is better than new images can be ({scores}): it may repeat training images"


def better_than_real(arms: Sequence[Arm], heldout: HeldoutRow | None, *, objective: str) -> list[BetterThanReal]:
    """In the objective and in the other metrics that judge, by more than a score's own standard error."""
    if heldout is None:
        return []
    names = dict.fromkeys((objective, *verdict_metrics(objective, scored_of(arms))))
    found = [(arm, name, heldout.values[name]) for arm in arms for name in names if name in heldout.values]
    return [each for arm, name, real in found for each in _beyond(arm, name, real)]


def _beyond(arm: Arm, name: str, real: float) -> Iterator[BetterThanReal]:
    spread, metric = arm.metrics.get(name), metric_of(name)
    if spread is None or arm.collapsed:
        return
    errors = [trial.score.errors.get(name, 0.0) for trial in arm.trials if trial.score is not None]
    if metric.loss(spread.mean) < metric.loss(real) - max(errors, default=0.0):
        yield BetterThanReal(arm.label, name, spread.mean, real)
