"""Whether an arm had learned what it could when its budget ended: its last slope against the noise over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jit_sweep.ledger.records import RungRow
from jit_sweep.results.arms import Arm, Convergence
from jit_sweep.results.scales import on_scale, scale_of
from jit_sweep.statistics.luck import typical_sd
from jit_sweep.statistics.student_t import mean
from trainables.evaluation.metrics.registry import RUNG_METRICS, metric_of

LAST_RUNGS = 3
"""Over which the slope is taken."""
AHEAD = 0.25
"""Share of the budget that the slope is followed further."""

Curves = dict[str, dict[int, float]]
"""A metric's value on its scale by trial and images."""


def with_convergence(arms: Sequence[Arm], rungs: Sequence[RungRow], *, metric: str) -> list[Arm]:
    """The arms with their convergence, where it is known: of three rungs or more, in a stage of which some arm of its kind has
    several seeds. By `metric` where their trials have it, else by the one that is their own on the way."""
    named = [metric, *(own for own in RUNG_METRICS.values() if own != metric)]
    values: dict[str, Curves] = {name: {} for name in named}
    for row in rungs:
        if row.name in values:
            values[row.name].setdefault(row.trial_id, {})[row.images] = on_scale(row.value, scale_of(row.name))
    alike: dict[tuple[int, str], list[int]] = {}
    for place, arm in enumerate(arms):
        own = next((name for name in named if any(trial.entry.trial_id in values[name] for trial in arm.trials)), metric)
        alike.setdefault((arm.stage, own), []).append(place)
    found = [*arms]
    for (_, own), places in alike.items():
        for place, arm in zip(places, _of_group([arms[place] for place in places], values[own], own), strict=True):
            found[place] = arm
    return found


def _of_group(arms: Sequence[Arm], values: Curves, metric: str) -> list[Arm]:
    curves = [[_curve(values.get(trial.entry.trial_id, {}), arm.images) for trial in arm.trials] for arm in arms]
    noise = typical_sd([[curve[-1][1] for curve in of if curve] for of in curves])
    if noise is None:
        return list(arms)
    known = [
        [gain(curve, images=arm.images, metric=metric) for curve in of if curve] for arm, of in zip(arms, curves, strict=True)
    ]
    return [
        replace(arm, convergence=Convergence(metric, mean(gains), noise)) if gains else arm
        for arm, gains in zip(arms, known, strict=True)
    ]


def _curve(of_trial: Mapping[int, float], images: int) -> list[tuple[int, float]]:
    """A trial's last rungs up to its end, where it has come to it; else nothing."""
    upto = sorted((at, value) for at, value in of_trial.items() if at <= images)
    return upto[-LAST_RUNGS:] if len(upto) >= LAST_RUNGS and upto[-1][0] == images else []


def gain(curve: Sequence[tuple[int, float]], *, images: int, metric: str) -> float:
    """What a quarter of `images` more would bring by the least-squares slope of a curve of (images, value)."""
    at, value = mean([x for x, _ in curve]), mean([y for _, y in curve])
    slope = sum((x - at) * (y - value) for x, y in curve) / sum((x - at) ** 2 for x, _ in curve)
    return -metric_of(metric).loss(slope * images * AHEAD)
