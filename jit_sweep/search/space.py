"""A search's axes as Optuna's parameters."""

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from jit_sweep.spec.axis_spaces import Range
from search_spaces.axis import AxisValue

Space = Range | tuple[AxisValue, ...]


def distribution(space: Space) -> BaseDistribution:
    """The values of one axis."""
    if not isinstance(space, Range):
        return CategoricalDistribution(space)
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(float(space.low), float(space.high), log=space.log)


def suggested(trial: optuna.Trial, name: str, space: Space) -> AxisValue:
    """The sampler's value of one axis."""
    if not isinstance(space, Range):
        choice: AxisValue = trial.suggest_categorical(name, space)
        return choice
    if space.whole:
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, float(space.low), float(space.high), log=space.log)
