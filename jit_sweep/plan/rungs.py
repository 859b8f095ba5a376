"""Where a trial's rungs stand, and at which of them the scheduler decides."""

import math
from typing import NamedTuple

from jit_sweep.spec.schedulers import Early, FirstRung, Ladder, NoScheduler
from trainables.config.trial import TrialConfig
from trainables.networks.cost import training_flops


class Rungs(NamedTuple):
    """A trial's image counts where the rung metric is measured, and those among them where a verdict is asked for."""

    measured: tuple[int, ...]
    gates: tuple[int, ...]


def rungs_of(scheduler: Early | NoScheduler, trial: TrialConfig, *, images: int, count: int, unit: int) -> Rungs:
    """A trial's rungs; all but the end are whole multiples of `unit`, which every batch size divides.

    count: how many equally spaced ones, where the scheduler has no ladder of its own. The end is a rung, and never a gate.
    """
    if isinstance(scheduler, Ladder):
        gates = _ladder(scheduler, trial, images=images, unit=unit)
        return Rungs((*gates, images), gates)
    points = {round(images * k / count / unit) * unit for k in range(1, count)}
    spaced = tuple(sorted(point for point in points if 0 < point < images))
    if isinstance(scheduler, NoScheduler):
        return Rungs((*spaced, images), ())
    first = _at(scheduler.first_rung, trial, times=1)
    return Rungs((*spaced, images), tuple(point for point in spaced if point >= first))


def _ladder(scheduler: Ladder, trial: TrialConfig, *, images: int, unit: int) -> tuple[int, ...]:
    gates: list[int] = []
    for power in range(64):
        point = math.ceil(_at(scheduler.first_rung, trial, times=scheduler.reduction**power) / unit) * unit
        if point >= images:
            break
        if not gates or point > gates[-1]:
            gates.append(point)
    return tuple(gates)


def _at(first: FirstRung, trial: TrialConfig, *, times: int) -> float:
    """Images at some multiple of the first rung."""
    if first.images is not None:
        return float(first.images * times)
    assert first.flops is not None
    return first.flops * times / training_flops(trial, images=1)
